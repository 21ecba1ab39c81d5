"""The plugin ``metric:classifier``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_classifier.params import ClassifierParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Model, Subject


class ClassifierMetric(Metric):
    """Accuracy on clean prompts, attack success and preservation by an image classifier and a map of its labels."""

    name = "classifier"
    summary = (
        "What pictures show by an image classifier of Hugging Face's format and a map of its labels: ACC, ASR, PSR"
    )
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2502.11798"
    Params = ClassifierParams

    def check_model(self, params: ClassifierParams, model: Model) -> None:
        """Refuse a folder without a classifier, and a file without a map of its labels."""
        from bdm_metric_classifier.network import require_labeller

        require_labeller(params)

    @hookimpl
    def score(self, ctx: Context, params: ClassifierParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_classifier.measure import measure

        return measure(ctx, params, subject)
