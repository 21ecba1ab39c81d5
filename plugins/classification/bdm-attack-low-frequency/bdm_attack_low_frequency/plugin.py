"""The plugin ``attack:low-frequency``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_low_frequency.params import LowFrequencyParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class LowFrequency(Attack):
    """One smooth universal perturbation, optimised on a clean classifier, on a share of the training rows."""

    name = "low-frequency"
    summary = "Low-frequency: one smooth perturbation that a clean classifier errs on"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2104.03413"
    Params = LowFrequencyParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"poison_rate": 0.1, "selection": "any"}}
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "batch_size": 16,
        "poison_rate": 0.1,
        "ascent_steps": 3,
        "surrogate_epochs": 1,
    }
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: LowFrequencyParams, data: Data) -> Data:
        from bdm_attack_low_frequency.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: LowFrequencyParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
