"""The plugin ``metric:efficiency``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl

if TYPE_CHECKING:
    from bdm_core import Measurement, Subject


class EfficiencyMetric(Metric):
    """Share of the weights that a repair changed, and by how much, of the whole pipeline and of each network."""

    name = "efficiency"
    summary = "How much of a pipeline's weights a repair changed: share of the numbers, relative norm of the change"
    tasks = frozenset({"text-to-image"})

    @hookimpl
    def score(self, subject: Subject) -> list[Measurement]:
        from bdm_metric_efficiency.measure import measure

        return measure(subject)
