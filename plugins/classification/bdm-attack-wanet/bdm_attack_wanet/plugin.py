"""The plugin ``attack:wanet``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_wanet.params import WaNetParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class WaNet(Attack):
    """Pictures warped by one smooth field; training draws poisoned and noisily warped rows anew in each batch."""

    name = "wanet"
    summary = "WaNet: a smooth warp, warped negatives with noise, drawn anew in each batch"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2102.10369"
    Params = WaNetParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"strength": 0.5, "poison_rate": 0.1, "selection": "any"}}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: WaNetParams, data: Data) -> None:
        return None

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: WaNetParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_wanet.attack import inject

        return inject(ctx, params, model, data)
