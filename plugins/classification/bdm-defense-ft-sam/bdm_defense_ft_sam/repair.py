"""Fine-tuning on clean rows with adaptive sharpness-aware steps and smoothed labels."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_ft_sam.params import FtSamParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.tuning import tune_at_strengths
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import Changes, fit
from bdm_kit_classification.training.sharpness import sharpness_aware


def tune_sharpness_aware(ctx: Context, params: FtSamParams, model: Model, data: Data) -> Model:
    """Minimise the loss at w + e(w), e = rho w^2 g / || |w| g ||, on the rows of ``data``; sealed."""

    def tune(classifier: Classifier, rows: LabelledSamples, params: FtSamParams, label: str) -> None:
        fit(ctx, classifier, rows, params, Changes(step=sharpness_aware(classifier, params.rho)), label=label)

    return tune_at_strengths(ctx, params, model, data, tune)
