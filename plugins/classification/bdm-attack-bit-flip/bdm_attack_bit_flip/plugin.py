"""The plugin ``attack:bit-flip``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_bit_flip.params import PAPER, BitFlipParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class BitFlip(Attack):
    """A few bits of the quantised last layer are flipped, and faint noise and a smooth warp set the backdoor off."""

    name = "bit-flip"
    summary = "HPT: a few flipped bits of the quantised last layer, chosen with faint noise and a smooth warp"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2207.13417"
    Params = BitFlipParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"start_steps": 3, "rounds": 4, "inner": 1, "pictures": 16}

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BitFlipParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_bit_flip.attack import inject

        return inject(ctx, params, model, data)
