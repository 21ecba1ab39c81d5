"""The plugin ``metric:cost``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bdm_core import Metric, hookimpl

if TYPE_CHECKING:
    from bdm_core import Measurement, Subject


class CostMetric(Metric):
    """Seconds, memory, forward and backward passes and clean samples of the defense's stages."""

    name = "cost"
    summary = "What a defense costs: seconds, memory, forward and backward passes, clean samples"
    sees_stages: ClassVar[bool] = True

    @hookimpl
    def score(self, subject: Subject) -> list[Measurement]:
        from bdm_metric_cost.measure import measure

        return measure(subject)
