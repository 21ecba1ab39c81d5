"""The plugin ``metric:trajectory``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_trajectory.params import TrajectoryParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class TrajectoryMetric(Metric):
    """What a model believes the picture is at each step of sampling, without and with the trigger."""

    name = "trajectory"
    summary = "What a model believes the picture is at each step of sampling, without and with the trigger"
    tasks = frozenset({"text-to-image"})
    paper = ""
    Params = TrajectoryParams

    @hookimpl
    def score(self, ctx: Context, params: TrajectoryParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_trajectory.measure import measure

        return measure(ctx, params, subject)
