"""Parameters of ``defense:bnp``. Light: no torch."""

from __future__ import annotations

from bdm_kit_classification.defending.params import PruningParams


class BnpParams(PruningParams):
    """Parameters of ``defense:bnp``."""
