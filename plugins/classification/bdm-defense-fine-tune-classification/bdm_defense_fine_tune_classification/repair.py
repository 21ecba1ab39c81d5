"""Fine-tuning with cross entropy on clean rows."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_fine_tune_classification.params import FineTuneParams
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.training.fitting import fit


def fine_tune(ctx: Context, params: FineTuneParams, model: Model, data: Data) -> Model:
    """Train ``model`` on the rows of ``data``; sealed in ``ctx.out / "model"``."""
    classifier = load_classifier(model)
    fit(ctx, classifier, open_samples(data), params, label="fine-tune")
    return seal_classifier(classifier, ctx.out / "model")
