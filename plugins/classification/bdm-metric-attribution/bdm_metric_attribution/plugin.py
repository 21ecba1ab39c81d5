"""The plugin ``metric:attribution``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_attribution.params import AttributionParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class AttributionMetric(Metric):
    """What a prediction rests on: Grad-CAM, SHAP values, saliency by frequency, and their share on the trigger."""

    name = "attribution"
    summary = "What a prediction rests on: Grad-CAM, SHAP values, saliency by frequency, and their share on the trigger"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/1610.02391"
    Params = AttributionParams

    @hookimpl
    def score(self, ctx: Context, params: AttributionParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_attribution.measure import measure

        return measure(ctx, params, subject)
