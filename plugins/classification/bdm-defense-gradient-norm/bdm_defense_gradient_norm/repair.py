"""Fine-tuning on clean rows with a penalty on the norm of the gradient."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_gradient_norm.params import GradientNormParams
from bdm_defense_gradient_norm.penalty import penalised
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.tuning import tune_at_strengths
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import Changes, fit


def tune_penalised(ctx: Context, params: GradientNormParams, model: Model, data: Data) -> Model:
    """Minimise L + penalty ||grad L||, L the cross entropy of the rows of ``data``; sealed."""

    def tune(classifier: Classifier, rows: LabelledSamples, params: GradientNormParams, label: str) -> None:
        rule = penalised(classifier, params.penalty, params.radius)
        fit(ctx, classifier, rows, params, Changes(step=rule), label=label)

    return tune_at_strengths(ctx, params, model, data, tune)
