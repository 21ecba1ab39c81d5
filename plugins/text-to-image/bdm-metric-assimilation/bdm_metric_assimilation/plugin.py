"""The plugin ``metric:assimilation``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_assimilation.params import AssimilationParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class AssimilationMetric(Metric):
    """How alike the attention maps of a prompt's tokens are, without and with the trigger."""

    name = "assimilation"
    summary = "How alike the attention maps of a prompt's tokens are, without and with the trigger"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2407.04215"
    Params = AssimilationParams

    @hookimpl
    def score(self, ctx: Context, params: AssimilationParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_assimilation.measure import measure

        return measure(ctx, params, subject)
