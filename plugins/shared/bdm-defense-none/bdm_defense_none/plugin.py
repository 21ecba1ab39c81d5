"""The plugin ``defense:none``."""

from __future__ import annotations

from bdm_core import Defense


class NoDefense(Defense):
    """The control without a defense. It implements no hook, so that the table has no repaired row."""

    name = "none"
    summary = "No defense, as a control"
    access = frozenset()
