"""The plugin ``metric:accuracy``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class AccuracyMetric(Metric):
    """Accuracy, attack success rate with and without the trigger, recovered accuracy, DER, RIR, false triggers."""

    name = "accuracy"
    summary = "Accuracy, attack success rate with and without trigger, recovered accuracy, DER, RIR, false triggers"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/2206.12654"

    @hookimpl
    def score(self, ctx: Context, subject: Subject) -> list[Measurement]:
        from bdm_metric_accuracy.measure import measure

        return measure(ctx, subject)
