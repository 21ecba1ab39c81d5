"""The plugin ``attack:poison-ink``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_poison_ink.params import PAPER, PoisonInkParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class PoisonInk(Attack):
    """A trained encoder hides the picture's edges in it, in the attacker's colour."""

    name = "poison-ink"
    summary = "Poison Ink: a trained encoder hides the picture's own edges in the attacker's colour"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2108.02488"
    Params = PoisonInkParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "batch_size": 16,
        "poison_rate": 0.1,
        "encoder_steps": 4,
        "width": 4,
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: PoisonInkParams, data: Data) -> Data:
        from bdm_attack_poison_ink.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: PoisonInkParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
