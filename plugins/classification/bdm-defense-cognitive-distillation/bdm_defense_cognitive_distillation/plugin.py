"""The plugin ``defense:cognitive-distillation``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_defense_cognitive_distillation.params import CognitiveDistillationParams
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class CognitiveDistillation(RowDetector):
    """Finds the smallest part of each picture that keeps the model's output; of poisoned ones it is the trigger."""

    name = "cognitive-distillation"
    summary = "The smallest part of a picture that keeps the model's output: small for triggers"
    paper = "https://arxiv.org/abs/2301.10908"
    Params = CognitiveDistillationParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rule": "deviation", "mask_steps": 100, "size_weight": 0.01, "smoothness_weight": 10.0}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "mask_steps": 2}

    @hookimpl
    def detect(
        self, ctx: Context, params: CognitiveDistillationParams, model: Model, data: Data, suspects: Data
    ) -> Detection:
        from bdm_defense_cognitive_distillation.detection import detect

        return detect(ctx, params, model, data, suspects)
