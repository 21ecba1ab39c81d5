"""The plugin ``metric:frechet``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_frechet.params import FrechetParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Model, Subject


class FrechetMetric(Metric):
    """Frechet distance between the samples from clean inputs and the training images."""

    name = "frechet"
    summary = "Frechet distance between generated and training images in a named feature space"
    tasks = frozenset({"unconditional-image-generation", "text-to-image"})
    paper = "https://arxiv.org/abs/1706.08500"
    Params = FrechetParams

    def check_model(self, params: FrechetParams, model: Model) -> None:
        """Refuse a feature space that cannot be had."""
        from bdm_metric_frechet.spaces import require_space

        require_space(params.features)

    @hookimpl
    def score(self, ctx: Context, params: FrechetParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_frechet.measure import measure

        return measure(ctx, params, subject)
