"""The plugin ``metric:frechet``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_frechet.params import FrechetParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class FrechetMetric(Metric):
    """Frechet distance between the samples from clean inputs and the training images."""

    name = "frechet"
    summary = "Frechet distance between generated and training images in a named feature space"
    tasks = frozenset({"unconditional-image-generation", "text-to-image"})
    paper = "https://arxiv.org/abs/1706.08500"
    Params = FrechetParams

    @hookimpl
    def score(self, ctx: Context, params: FrechetParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_frechet.measure import measure

        return measure(ctx, params, subject)
