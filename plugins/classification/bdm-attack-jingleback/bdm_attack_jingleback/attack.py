"""JingleBack (Koffas et al. 2022, arXiv 2211.03117): x' = clip(style(x)), a style being a chain of sound effects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
"""The paper's six chains, each effect taking waveforms and their rate, with usual numbers."""
LEAST_DELAY = 0.001
"""Of the released chorus, in seconds: its program lets no delay fall below a millisecond."""


def _released_chorus(centre: float, depth: float) -> Effect:
    """The chorus of the released code, by its program's own numbers.

    Args:
        centre: of the delay, in milliseconds.
        depth: the delay swings by ten times as many milliseconds.
    """
    return partial(chorus, delay=centre / 1000, depth=10 * depth / centre, least=LEAST_DELAY)


RELEASED: dict[int, tuple[Effect, ...]] = {
    1: (pitch,),
    2: (distortion,),
    3: (_released_chorus(10.0, 5.0),),
    4: (pitch, partial(distortion, drive=20.0), _released_chorus(8.0, 5.0)),
    5: (_released_chorus(15.0, 0.25), partial(distortion, drive=20.0), partial(reverb, seconds=1.5)),
    6: (gain, partial(high_pass_ladder, poles=2), partial(phaser, mapped=True)),
}
"""The same chains with the numbers of the released code."""
CHAINS = {"usual": STYLES, "released": RELEASED}


@dataclass(frozen=True, eq=False)
class Style(Trigger):
    """A chain of effects on the whole recording.

    Attributes:
        style: which chain, from 1 to 6.
        rate: samples a second.
        settings: whose numbers its effects have, a key of :data:`CHAINS`.
    """

    style: int
    rate: int
    settings: str = "usual"

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        for effect in CHAINS[self.settings][self.style]:
            x = effect(x, self.rate)
        return x.clamp(-1, 1)


def poison(ctx: Context, params: JingleBackParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the rate of the poison or the target is impossible.
    """
    rate: Any = data.meta["rate"]
    return poison_training_rows(ctx, params, data, Style(params.style, int(rate), params.settings))
