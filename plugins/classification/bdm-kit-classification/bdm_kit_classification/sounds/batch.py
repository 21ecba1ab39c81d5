"""Recordings of one length as they are stored: 16-bit samples and their rate."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Sounds:
    """Mono recordings of one length.

    Attributes:
        values: int16 (N, S).
        rate: samples a second; 0 where it is that of the recordings they are put beside.

    >>> import torch
    >>> len(Sounds(torch.zeros(3, 80, dtype=torch.int16), 8000))
    3
    """

    values: Tensor
    rate: int

    def __len__(self) -> int:
        return len(self.values)
