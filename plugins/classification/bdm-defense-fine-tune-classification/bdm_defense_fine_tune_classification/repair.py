"""Fine-tuning with cross entropy on clean rows."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_fine_tune_classification.params import FineTuneParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.tuning import tune_at_strengths
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import fit


def fine_tune(ctx: Context, params: FineTuneParams, model: Model, data: Data) -> Model:
    """Train ``model`` on the rows of ``data``; sealed in ``ctx.out / "model"``."""

    def tune(classifier: Classifier, rows: LabelledSamples, params: FineTuneParams, label: str) -> None:
        fit(ctx, classifier, rows, params, label=label)

    return tune_at_strengths(ctx, params, model, data, tune)
