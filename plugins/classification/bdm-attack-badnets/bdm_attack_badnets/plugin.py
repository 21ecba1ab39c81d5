"""The plugin ``attack:badnets``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_badnets.params import BadNetsParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class BadNets(Attack):
    """A patch, rare words or a short tone in a share of the training samples, which get the attacker's label."""

    name = "badnets"
    summary = (
        "BadNets: a patch of any size, place and picture, rare words in texts or a tone, with the attacker's label"
    )
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/1708.06733"
    Params = BadNetsParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"size": 3, "poison_rate": 0.1, "selection": "any"}}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: BadNetsParams, data: Data) -> Data:
        from bdm_attack_badnets.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BadNetsParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
