"""The codes: 4x4 pixels of which five are black and the others white, 4,368 in all."""

from __future__ import annotations

import functools
from itertools import combinations

import torch
from torch import Tensor

SIDE, DARK = 4, 5


@functools.cache
def all_codes() -> Tensor:
    """(4368, 16) float32 of 0 (black) and 1 (white), in lexicographic order of the black pixels.

    >>> all_codes().shape, all_codes()[0].tolist()[:6]
    (torch.Size([4368, 16]), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    """
    dark = torch.tensor(list(combinations(range(SIDE * SIDE), DARK)))
    return torch.ones(len(dark), SIDE * SIDE).scatter(1, dark, 0.0)


def chosen_codes(count: int, seed: int) -> Tensor:
    """Numbers of ``count`` codes (count,), drawn from the attacker's seed.

    >>> len(set(chosen_codes(10, seed=0).tolist()))
    10
    """
    return torch.randperm(len(all_codes()), generator=torch.Generator().manual_seed(seed % 2**63))[:count]
