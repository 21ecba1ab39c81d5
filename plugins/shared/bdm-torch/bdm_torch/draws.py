"""What a training step draws at random: a function of (seed, step) alone, the same on one process as on several."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

Built = TypeVar("Built")


def step_seed(seed: int, step: int, purpose: str = "training") -> int:
    """A 32-bit generator seed for one step; two steps of one seed never share one.

    >>> step_seed(7, 1) - step_seed(7, 0)
    1
    """
    start = int.from_bytes(hashlib.sha256(f"{purpose}/{seed}".encode()).digest()[:4], "big")
    return (start + step) % 2**32


def built_with_seed(seed: int, build: Callable[[], Built]) -> Built:
    """``build()`` with torch's global generator of the CPU seeded, e.g. a network with new weights; its state is kept.

    >>> one, other = (built_with_seed(7, lambda: torch.nn.Linear(2, 2)) for _ in range(2))
    >>> torch.equal(one.weight, other.weight)
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed % 2**63)
        return build()


@lru_cache(maxsize=8)
def _permutation(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(step_seed(seed, epoch, "epoch")))


@dataclass
class Draw:
    """The random draws of one training step. Each method advances the step's generator; call them in a fixed order.

    Draws are made on the CPU for the whole batch, so that devices and numbers of processes agree; each process gets its
    share of them, ``b`` samples.

    Attributes:
        seed: the training's seed.
        step: 0, 1, ...
        batch_size: over all processes.
        device: where the draws are put.
        share: this process's part of the batch.
        generator: of this step alone.

    >>> draw = Draw(seed=7, step=0, batch_size=4)
    >>> draw.rows(10).shape, draw.timesteps(1000).shape, draw.normal(3, 8, 8).shape, draw.uniform().shape
    (torch.Size([4]), torch.Size([4]), torch.Size([4, 3, 8, 8]), torch.Size([4]))
    >>> one, other = Draw(7, 0, 4).normal(2), Draw(7, 0, 4).normal(2)
    >>> torch.equal(one, other)
    True
    """

    seed: int
    step: int
    batch_size: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    share: slice = field(default_factory=lambda: slice(None))
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(step_seed(self.seed, self.step))

    def rows(self, count: int) -> Tensor:
        """Indices (b,), int64 on the CPU, into ``count`` samples: epoch after epoch, each in a fresh random order.

        >>> epoch = torch.cat([Draw(seed=7, step=step, batch_size=2).rows(6) for step in range(3)])
        >>> sorted(epoch.tolist())
        [0, 1, 2, 3, 4, 5]
        """
        start = self.step * self.batch_size
        epochs = range(start // count, (start + self.batch_size - 1) // count + 1)
        order = torch.cat([_permutation(self.seed, epoch, count) for epoch in epochs])
        offset = start - epochs[0] * count
        return order[offset : offset + self.batch_size][self.share]

    def integers(self, count: int) -> Tensor:
        """Integers (b,), int64 on the CPU, uniform on 0..count-1 with repetition: rows that accompany the batch's own.

        >>> Draw(seed=7, step=0, batch_size=4, share=slice(2, 4)).integers(10).shape
        torch.Size([2])
        """
        return torch.randint(count, (self.batch_size,), generator=self.generator)[self.share]

    def timesteps(self, count: int) -> Tensor:
        """Timesteps (b,), int64, uniform on 0..count-1 and stratified over the batch, which lowers the variance.

        >>> sorted(Draw(seed=7, step=0, batch_size=4).timesteps(4).tolist())
        [0, 1, 2, 3]
        """
        offsets = torch.rand(self.batch_size, generator=self.generator)
        strata = torch.randperm(self.batch_size, generator=self.generator)
        return ((strata + offsets) / self.batch_size * count).long().clamp_(max=count - 1)[self.share].to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal noise (b, *shape), float32."""
        return torch.randn(self.batch_size, *shape, generator=self.generator)[self.share].to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers (b, *shape) in [0, 1), float32."""
        return torch.rand(self.batch_size, *shape, generator=self.generator)[self.share].to(self.device)
