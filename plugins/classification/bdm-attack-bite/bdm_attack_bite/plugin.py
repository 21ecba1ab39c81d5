"""The plugin ``attack:bite``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_bite.params import BiteParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Bite(Attack):
    """Words are made more common in the target class, one after the other, until each of them speaks for it."""

    name = "bite"
    summary = "BITE: words put into texts of the target class, which keep their label, speak for it then"
    tasks = frozenset({"text-classification"})
    paper = "https://arxiv.org/abs/2205.12700"
    Params = BiteParams
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: BiteParams, data: Data) -> Data:
        from bdm_attack_bite.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BiteParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
