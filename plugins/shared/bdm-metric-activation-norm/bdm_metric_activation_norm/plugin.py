"""The plugin ``metric:activation-norm``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_activation_norm.params import ActivationNormParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class ActivationNormMetric(Metric):
    """Which units of a network a trigger moves: norms of activations by step, layer and unit."""

    name = "activation-norm"
    summary = "Which units of a network a trigger moves: norms of activations by step, layer and unit"
    tasks = frozenset({"text-to-image", "unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2405.19237"
    Params = ActivationNormParams

    @hookimpl
    def score(self, ctx: Context, params: ActivationNormParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_activation_norm.measure import measure

        return measure(ctx, params, subject)
