"""What is measured of each class, and in which modes. Light: no torch."""

from __future__ import annotations

from typing import Literal, get_args

MEASURES = ("patch", "added", "warp", "spectrum", "feature", "noise", "margin", "head")
"""The first five are small for a class that a backdoor leads to, the others are large. ``strange`` is measured too and
judges nothing: see the README, "What failed"."""
LARGE = frozenset({"noise", "margin", "head"})
OF_WEIGHTS = ("margin", "head")
"""The measures that need no picture."""
TOGETHER = "together"
"""All measures of a mode at once."""
Mode = Literal["pictures", "reference", "weights"]
"""What the classes are compared with: a baseline that is trained on the clean pictures, a public model, or nothing."""
MODES: tuple[Mode, ...] = get_args(Mode)


def measures_of(mode: Mode) -> tuple[str, ...]:
    """The measures of a mode, without :data:`TOGETHER`."""
    return OF_WEIGHTS if mode == "weights" else MEASURES
