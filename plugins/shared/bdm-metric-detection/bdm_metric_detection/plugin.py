"""The plugin ``metric:detection``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_detection.params import DetectionParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class DetectionMetric(Metric):
    """Verdict, score, threshold and p-value of a model; TPR, FPR and AUROC over inputs or training rows; rejections."""

    name = "detection"
    summary = (
        "A detector's verdict on a model, its TPR, FPR and AUROC over inputs or training rows, and what it turns away"
    )
    paper = "https://doi.org/10.2307/2531595"
    Params = DetectionParams

    @hookimpl
    def score(self, ctx: Context, params: DetectionParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_detection.measure import measure

        return measure(ctx, params, subject)
