"""What a kind of data noise is. Each modality has kinds of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Noise(NamedTuple):
    """A kind of noise.

    Attributes:
        level: how strong it is unless the experiment says otherwise.
        low, high: what a level may be, both included.
        meaning: of the level, with its unit, for messages.
        change: change(raw samples, level, one seed for each) -> raw samples of the same form, in the valid range.
    """

    level: float
    low: float
    high: float
    meaning: str
    change: Callable[[Any, float, list[int]], Any]
