"""The plugin ``attack:bpp``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_bpp.params import BPPParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class BPP(Attack):
    """Quantised colours, with negatives that get other pictures' residuals, drawn anew in each batch."""

    name = "bpp"
    summary = "BppAttack: fewer levels a colour, dithered or not, with negatives, drawn anew in each batch"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2205.13383"
    Params = BPPParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"levels": 8, "dither": False, "poison_rate": 0.1, "negative_rate": 0.1, "selection": "any"}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: BPPParams, data: Data) -> None:
        return None

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BPPParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_bpp.attack import inject

        return inject(ctx, params, model, data)
