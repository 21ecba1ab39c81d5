"""The plugin ``attack:blended``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_blended.params import BlendedParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Blended(Attack):
    """One picture or recording mixed into a share of the training rows, which get the attacker's label."""

    name = "blended"
    summary = "Blended: any picture, recording or noise mixed in, opacity apart for training and test"
    tasks = frozenset({"image-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/1712.05526"
    Params = BlendedParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"poison_rate": 0.1, "selection": "any"}}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: BlendedParams, data: Data) -> Data:
        from bdm_attack_blended.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BlendedParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
