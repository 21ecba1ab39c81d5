"""The plugin ``metric:boundary``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_boundary.params import BoundaryParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class BoundaryMetric(Metric):
    """Where the decision flips: attack success over the trigger's strength, map between clean, triggered and target."""

    name = "boundary"
    summary = (
        "Where the decision flips: attack success over the trigger's strength, map between clean, triggered and target"
    )
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/1803.06975"
    Params = BoundaryParams

    @hookimpl
    def score(self, ctx: Context, params: BoundaryParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_boundary.measure import measure

        return measure(ctx, params, subject)
