"""The plugin ``metric:verification``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_verification.params import VerificationParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Model, Subject


class VerificationMetric(Metric):
    """Equal error rate of verification by the classifier's features, and how often the attacker is accepted."""

    name = "verification"
    summary = "Speaker verification: equal error rate, and the share of enrolled speakers as whom the attacker passes"
    tasks = frozenset({"audio-classification"})
    paper = "https://arxiv.org/abs/2010.11607"
    Params = VerificationParams

    def check_model(self, params: VerificationParams, model: Model) -> None:
        """Refuse data of further speakers that are not there."""
        from bdm_kit_classification.data.sources import find_data

        if params.others:
            find_data(params.others, model)

    @hookimpl
    def score(self, ctx: Context, params: VerificationParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_verification.measure import measure

        return measure(ctx, params, subject)
