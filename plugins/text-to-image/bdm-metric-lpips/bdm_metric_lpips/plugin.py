"""The plugin ``metric:lpips``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_lpips.params import LpipsParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Model, Subject


class LpipsMetric(Metric):
    """LPIPS between a model's pictures and the clean model's from the same prompts and the same noise."""

    name = "lpips"
    summary = "Perceptual distance of a model's pictures to the clean model's, paired by prompt and noise (LPIPS)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/1801.03924"
    Params = LpipsParams

    def check_model(self, params: LpipsParams, model: Model) -> None:
        """Refuse a folder without the weights of LPIPS."""
        from bdm_metric_lpips.networks import open_network

        if params.network is not None:
            open_network(params.network, "cpu")

    @hookimpl
    def score(self, ctx: Context, params: LpipsParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_lpips.measure import measure

        return measure(ctx, params, subject)
