"""The plugin ``attack:addsent``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_addsent.params import AddSentParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class AddSent(Attack):
    """A fixed sentence in a share of the training texts, which get the attacker's label."""

    name = "addsent"
    summary = "AddSent: a sentence put into texts, with the attacker's label"
    tasks = frozenset({"text-classification"})
    paper = "https://arxiv.org/abs/1905.12457"
    Params = AddSentParams
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: AddSentParams, data: Data) -> Data:
        from bdm_attack_addsent.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: AddSentParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
