"""The plugin ``metric:overview``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_overview.params import OverviewParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class OverviewMetric(Metric):
    """Confusion with and without the trigger, damage by class, a radar, the structure of the network."""

    name = "overview"
    summary = "Confusion with and without the trigger, damage by class, a radar, the structure of the network"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2206.12654"
    Params = OverviewParams

    @hookimpl
    def score(self, ctx: Context, params: OverviewParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_overview.measure import measure

        return measure(ctx, params, subject)
