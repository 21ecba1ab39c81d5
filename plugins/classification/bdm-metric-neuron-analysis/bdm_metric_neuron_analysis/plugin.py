"""The plugin ``metric:neuron-analysis``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_neuron_analysis.params import NeuronAnalysisParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class NeuronAnalysisMetric(Metric):
    """How units answer to the trigger: change of activation (TAC), Lipschitz bound, distributions, feature maps."""

    name = "neuron-analysis"
    summary = (
        "How units answer to the trigger: change of activation (TAC), Lipschitz bound, distributions, feature maps"
    )
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2208.03111"
    Params = NeuronAnalysisParams

    @hookimpl
    def score(self, ctx: Context, params: NeuronAnalysisParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_neuron_analysis.measure import measure

        return measure(ctx, params, subject)
