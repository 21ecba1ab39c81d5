"""The plugin ``metric:precision-recall``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_precision_recall.params import PrecisionRecallParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Model, Subject


class PrecisionRecallMetric(Metric):
    """How real the pictures from clean prompts are, and how much of what is real they cover."""

    name = "precision-recall"
    summary = "Improved precision and recall of pictures from clean prompts in a named feature space"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/1904.06991"
    Params = PrecisionRecallParams

    def check_model(self, params: PrecisionRecallParams, model: Model) -> None:
        """Refuse a feature space that cannot be had."""
        from bdm_metric_precision_recall.measure import require_space

        require_space(params.features)

    @hookimpl
    def score(self, ctx: Context, params: PrecisionRecallParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_precision_recall.measure import measure

        return measure(ctx, params, subject)
