"""The plugin ``attack:label-consistent``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_label_consistent.params import LabelConsistentParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class LabelConsistent(Attack):
    """Rows of the target class, made hard by PGD and given corner patches; only the corners at test."""

    name = "label-consistent"
    summary = "Label-consistent: adversarial pictures of the target class with patches in the corners"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/1912.02771"
    Params = LabelConsistentParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "bound": 16 / 255,
            "ascent_step": 1.5 / 255,
            "ascent_steps": 100,
            "patch": 3,
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
        "ascent_steps": 2,
        "surrogate_epochs": 1,
    }
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: LabelConsistentParams, data: Data) -> Data:
        from bdm_attack_label_consistent.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: LabelConsistentParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
