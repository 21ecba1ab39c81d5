"""The plugin ``metric:judge``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_judge.params import JudgeParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class JudgeMetric(Metric):
    """Accuracy, attack success and preservation by the answers of a multimodal model to questions on each picture."""

    name = "judge"
    summary = "What pictures show by a multimodal model behind an OpenAI-compatible endpoint: ACC, ASR, PSR"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2502.11798"
    Params = JudgeParams

    @hookimpl
    def score(self, ctx: Context, params: JudgeParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_judge.measure import measure

        return measure(ctx, params, subject)
