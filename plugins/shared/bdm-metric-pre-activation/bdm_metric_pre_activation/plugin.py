"""The plugin ``metric:pre-activation``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_pre_activation.params import PreActivationParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class PreActivationMetric(Metric):
    """Filters of the first convolutions that carry a backdoor, and how the trigger moves what they answer."""

    name = "pre-activation"
    summary = "Filters of the first convolutions that carry a backdoor, and how the trigger moves what they answer"
    tasks = frozenset({"text-to-image", "unconditional-image-generation"})
    paper = "https://openreview.net/forum?id=wwW-1k1ljIg"
    Params = PreActivationParams

    @hookimpl
    def score(self, ctx: Context, params: PreActivationParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_pre_activation.measure import measure

        return measure(ctx, params, subject)
