"""The plugin ``attack:refool``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_refool.params import RefoolParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Refool(Attack):
    """Reflections of other pictures, out of focus or doubled, on a share of the training rows."""

    name = "refool"
    summary = "Refool: reflections of other pictures, out of focus or as ghosts"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2007.02343"
    Params = RefoolParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"poison_rate": 0.1, "opacity": 0.6, "gamma": 2.2, "selection": "any"}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1, "count": 8}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: RefoolParams, data: Data) -> Data:
        from bdm_attack_refool.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: RefoolParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
