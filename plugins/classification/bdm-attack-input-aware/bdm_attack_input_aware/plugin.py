"""The plugin ``attack:input-aware``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_input_aware.params import PAPER, InputAwareParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class InputAware(Attack):
    """A network draws a trigger for each sample; it works on no other sample."""

    name = "input-aware"
    summary = "Input-Aware: a mask and a pattern of its own for each picture, by two trained networks"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2010.08138"
    Params = InputAwareParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "batch_size": 16,
        "poison_rate": 0.1,
        "mask_epochs": 1,
        "width": 4,
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: InputAwareParams, data: Data) -> Data | None:
        return None

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: InputAwareParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_input_aware.attack import inject

        return inject(ctx, params, model, data)
