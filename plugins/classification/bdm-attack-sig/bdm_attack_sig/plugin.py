"""The plugin ``attack:sig``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_sig.params import SIGParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class SIG(Attack):
    """A sinusoid on rows of the target class, which keep their label."""

    name = "sig"
    summary = "SIG: a sinusoid on pictures of the target class, whose labels stay"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/1902.11237"
    Params = SIGParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "train_amplitude": 40 / 255,
            "test_amplitude": 40 / 255,
            "frequency": 6.0,
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
    def poison_data(self, ctx: Context, params: SIGParams, data: Data) -> Data:
        from bdm_attack_sig.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: SIGParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
