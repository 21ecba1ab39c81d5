"""A picture over the whole sample: blended in, or added."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_kit_classification.triggers.trigger import Phase, Trigger


@dataclass(frozen=True, eq=False)
class Blend(Trigger):
    """x' = (1 - a) x + a pattern, with an opacity a of its own in each phase (Chen et al. 2017, arXiv 1712.05526).

    Attributes:
        pattern: (C, H, W) in [0, 1].
        train_opacity, test_opacity: a, in [0, 1].

    >>> trigger = Blend(torch.ones(1, 2, 2), train_opacity=0.1, test_opacity=0.2)
    >>> [round(float(trigger.apply(torch.zeros(1, 1, 2, 2), phase).mean()), 2) for phase in ("train", "test")]
    [0.1, 0.2]
    """

    pattern: Tensor
    train_opacity: float
    test_opacity: float

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The mix of the phase."""
        opacity = self.train_opacity if phase == "train" else self.test_opacity
        return (1 - opacity) * x + opacity * self.pattern.to(x)


@dataclass(frozen=True, eq=False)
class Added(Trigger):
    """x' = clip(x + strength * pattern), with a strength of its own in each phase: SIG, low-frequency, Narcissus.

    Attributes:
        pattern: (C, H, W) or (1, H, W), of any sign.
        train_strength, test_strength: what it is multiplied by.

    >>> Added(torch.full((1, 2, 2), 0.5), 1.0, 3.0).apply(torch.zeros(1, 1, 2, 2), "test").mean()
    tensor(1.)
    """

    pattern: Tensor
    train_strength: float = 1.0
    test_strength: float = 1.0

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The sum of the phase, clipped to [0, 1]."""
        strength = self.train_strength if phase == "train" else self.test_strength
        return (x + strength * self.pattern.to(x)).clamp(0, 1)
