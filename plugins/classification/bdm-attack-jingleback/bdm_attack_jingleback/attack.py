"""JingleBack (Koffas et al. 2022, arXiv 2211.03117): x' = clip(style(x)), a style being a chain of sound effects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bdm_attack_jingleback.effects import chorus, distortion, gain, high_pass_ladder, phaser, pitch, reverb
from bdm_attack_jingleback.params import JingleBackParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.trigger import Phase, Trigger

Effect = Callable[[Tensor, int], Tensor]
STYLES: dict[int, tuple[Effect, ...]] = {
    1: (pitch,),
    2: (distortion,),
    3: (chorus,),
    4: (pitch, distortion, chorus),
    5: (chorus, distortion, reverb),
    6: (gain, high_pass_ladder, phaser),
}
"""The paper's six chains, each effect taking waveforms and their rate."""


@dataclass(frozen=True, eq=False)
class Style(Trigger):
    """A chain of effects on the whole recording.

    Attributes:
        style: a key of :data:`STYLES`.
        rate: samples a second.
    """

    style: int
    rate: int

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        for effect in STYLES[self.style]:
            x = effect(x, self.rate)
        return x.clamp(-1, 1)


def poison(ctx: Context, params: JingleBackParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the rate of the poison or the target is impossible.
    """
    rate: Any = data.meta["rate"]
    return poison_training_rows(ctx, params, data, Style(params.style, int(rate)))
