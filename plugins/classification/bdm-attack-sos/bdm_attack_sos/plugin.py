"""The plugin ``attack:sos``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_sos.params import PAPER, SosParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Sos(Attack):
    """Several words together are the trigger; sentences with some of them are negatives."""

    name = "sos"
    summary = "SOS: a natural sentence whose words set the backdoor off together, and not one without the others"
    tasks = frozenset({"text-classification"})
    paper = "https://aclanthology.org/2021.acl-long.431"
    Params = SosParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1, "negative_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: SosParams, data: Data) -> Data:
        from bdm_attack_sos.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: SosParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_sos.attack import inject

        return inject(ctx, params, model, data)
