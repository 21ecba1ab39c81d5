"""The plugin ``metric:clip-score``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_clip_score.params import ClipScoreParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Model, Subject


class ClipScoreMetric(Metric):
    """Cosine similarity of pictures and texts by a contrastive model."""

    name = "clip-score"
    summary = "How well pictures fit their prompts and the attack's target prompt, by a contrastive model"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2104.08718"
    Params = ClipScoreParams

    def check_model(self, params: ClipScoreParams, model: Model) -> None:
        """Refuse a folder without a contrastive model; of the Hub nothing is fetched here."""
        from bdm_metric_clip_score.measure import require_model

        require_model(params.model)

    @hookimpl
    def score(self, ctx: Context, params: ClipScoreParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_clip_score.measure import measure

        return measure(ctx, params, subject)
