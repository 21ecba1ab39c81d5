"""The plugin ``attack:adaptive-blend``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_adaptive_blend.params import AdaptiveBlendParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class AdaptiveBlend(Attack):
    """Pieces of a blended picture in training, with covers of the true label; the whole picture at test."""

    name = "adaptive-blend"
    summary = "Adaptive-Blend: random pieces of a faint blend in training, covers, the whole at test"
    tasks = frozenset({"image-classification"})
    paper = "https://openreview.net/forum?id=_wSHsgrVali"
    Params = AdaptiveBlendParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "poison_rate": 0.003,
            "cover_rate": 0.003,
            "train_opacity": 0.15,
            "test_opacity": 0.2,
            "selection": "any",
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: AdaptiveBlendParams, data: Data) -> Data:
        from bdm_attack_adaptive_blend.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: AdaptiveBlendParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
