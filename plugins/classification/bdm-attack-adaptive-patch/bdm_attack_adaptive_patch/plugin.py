"""The plugin ``attack:adaptive-patch``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_adaptive_patch.params import AdaptivePatchParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class AdaptivePatch(Attack):
    """One of several patches in each training picture, with covers of the true label; more of them at test."""

    name = "adaptive-patch"
    summary = "Adaptive-Patch: one of several faint patches in each training picture, covers, several at test"
    tasks = frozenset({"image-classification"})
    paper = "https://openreview.net/forum?id=_wSHsgrVali"
    Params = AdaptivePatchParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "poison_rate": 0.003,
            "cover_rate": 0.006,
            "opacities": [0.5, 0.2, 0.5, 0.3],
            "test_patches": 2,
            "selection": "any",
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: AdaptivePatchParams, data: Data) -> Data:
        from bdm_attack_adaptive_patch.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: AdaptivePatchParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
