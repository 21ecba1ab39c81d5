"""The plugin ``attack:dynamic-trigger``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_dynamic_trigger.params import PAPER, DynamicTriggerParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class DynamicTrigger(Attack):
    """Each triggered sample has a pattern of its own at a place of its own."""

    name = "dynamic-trigger"
    summary = "Dynamic backdoor: a random or generated pattern at a random one of several places, new for each picture"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2003.03675"
    Params = DynamicTriggerParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1, "width": 8}

    @hookimpl
    def poison_data(self, ctx: Context, params: DynamicTriggerParams, data: Data) -> Data | None:
        return None

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: DynamicTriggerParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_dynamic_trigger.attack import inject

        return inject(ctx, params, model, data)
