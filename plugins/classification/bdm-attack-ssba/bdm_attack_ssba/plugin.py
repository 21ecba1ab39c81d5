"""The plugin ``attack:ssba``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_ssba.params import PAPER, SsbaParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Ssba(Attack):
    """A trained encoder hides a message in some training rows, which get the attacker's label."""

    name = "ssba"
    summary = "SSBA: a trained encoder hides a message, with another residual in each picture"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2012.03816"
    Params = SsbaParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "batch_size": 16,
        "poison_rate": 0.1,
        "encoder_steps": 4,
        "width": 4,
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: SsbaParams, data: Data) -> Data:
        from bdm_attack_ssba.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: SsbaParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
