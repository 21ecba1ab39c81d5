"""The plugin ``metric:latent-map``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_latent_map.params import LatentMapParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class LatentMapMetric(Metric):
    """What is painted on a plane between a clean prompt, the triggered one and the target."""

    name = "latent-map"
    summary = "What is painted on a plane between a clean prompt, the triggered one and the target"
    tasks = frozenset({"text-to-image"})
    paper = ""
    Params = LatentMapParams

    @hookimpl
    def score(self, ctx: Context, params: LatentMapParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_latent_map.measure import measure

        return measure(ctx, params, subject)
