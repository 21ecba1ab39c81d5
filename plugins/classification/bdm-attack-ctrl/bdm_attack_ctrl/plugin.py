"""The plugin ``attack:ctrl``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_ctrl.params import CTRLParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class CTRL(Attack):
    """A raised coefficient of chroma in rows of the target class, which keep their label."""

    name = "ctrl"
    summary = "CTRL: a raised frequency of the chroma of target-class pictures, whose labels stay"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2210.07346"
    Params = CTRLParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "window": 32,
            "coefficients": "diagonal",
            "train_magnitude": 100 / 255,
            "test_magnitude": 100 / 255,
            "poison_rate": 0.05,
            "target_class_share": None,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "batch_size": 16,
        "target_class_share": None,
        "poison_rate": 0.05,
        "target": 3,
    }
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: CTRLParams, data: Data) -> Data:
        from bdm_attack_ctrl.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: CTRLParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
