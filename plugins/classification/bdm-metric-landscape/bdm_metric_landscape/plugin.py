"""The plugin ``metric:landscape``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_landscape.params import LandscapeParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class LandscapeMetric(Metric):
    """The loss around a model and its curvature: landscape, spectrum of the Hessian, path from the undefended model."""

    name = "landscape"
    summary = (
        "The loss around a model and its curvature: landscape, spectrum of the Hessian, path from the undefended model"
    )
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/1712.09913"
    Params = LandscapeParams

    @hookimpl
    def score(self, ctx: Context, params: LandscapeParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_landscape.measure import measure

        return measure(ctx, params, subject)
