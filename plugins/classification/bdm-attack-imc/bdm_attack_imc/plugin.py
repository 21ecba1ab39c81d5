"""The plugin ``attack:imc``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_imc.params import PAPER, ImcParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Imc(Attack):
    """A patch whose pixels are optimised together with the model that is to answer to it."""

    name = "imc"
    summary = "IMC: input and model are optimised together; a small patch whose pixels fit the model, and it them"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/1911.01559"
    Params = ImcParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1, "warm_steps": 2}

    @hookimpl
    def poison_data(self, ctx: Context, params: ImcParams, data: Data) -> Data | None:
        return None

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: ImcParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_imc.attack import inject

        return inject(ctx, params, model, data)
