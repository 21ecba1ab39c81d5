"""The plugin ``metric:operating-point``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bdm_core import Metric, hookimpl
from bdm_metric_operating_point.params import OperatingPointMetricParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class OperatingPointMetric(Metric):
    """ACC and ASR over the sweep of a pruning, and its best point by test DER, about an upper bound."""

    name = "operating-point"
    summary = "Accuracy and attack success over the sweep of a pruning; its best point by test DER"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/2206.12654"
    Params = OperatingPointMetricParams
    sees_stages: ClassVar[bool] = True

    @hookimpl
    def score(self, ctx: Context, params: OperatingPointMetricParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_operating_point.measure import measure

        return measure(ctx, params, subject)
