"""The plugin ``metric:judge``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_judge.params import JudgeParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Model, Subject


class JudgeMetric(Metric):
    """Accuracy, attack success and preservation by the answers of a multimodal model to questions on each picture."""

    name = "judge"
    summary = "What pictures show by a multimodal model behind an OpenAI-compatible endpoint: ACC, ASR, PSR"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2502.11798"
    Params = JudgeParams

    def check_model(self, params: JudgeParams, model: Model) -> None:
        """Refuse an endpoint without a key or a model, and a folder without a classifier."""
        from bdm_kit_text_to_image.judging.attributes import require_attribute_classifier
        from bdm_language_model.endpoint import require_endpoint

        require_endpoint(params, "metric:judge")
        require_attribute_classifier(params.classifier)

    @hookimpl
    def score(self, ctx: Context, params: JudgeParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_judge.measure import measure

        return measure(ctx, params, subject)
