"""Training from scratch without the rows that a detector flagged: the repair of every detector of training rows."""

from __future__ import annotations

import torch

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.training.fitting import fit
from bdm_kit_classification.training.params import ClassifierTraining


def retrain_without_flagged(
    ctx: Context, params: ClassifierTraining, model: Model, detection: Detection | None, training_data: Data
) -> Model:
    """Train the architecture of ``model`` with new weights on the rows that are not flagged.

    Args:
        ctx: the model is sealed in ``ctx.out / "model"``.
        params: of the training.
        model: says the architecture; its weights are not used.
        detection: of training rows, one score for each in the order of ``training_data``.
        training_data: the rows.

    Raises:
        UserError: there is no detection of training rows, or it flags all of them or all of all classes but one.
    """
    samples = open_samples(training_data)
    if detection is None or detection.level != "data" or len(detection.scores) != len(samples):
        raise UserError(
            "training without flagged rows needs a detector of training rows: name one with --detect, e.g. "
            "--detect activation-clustering"
        )
    flagged = torch.tensor(detection.scores, dtype=torch.float64) > detection.threshold
    left = samples.pick(~flagged)
    if len(set(left.labels.tolist())) < 2:
        raise UserError(f"{int(flagged.sum())} of {len(samples)} training rows are flagged: too few are left to train")
    known = load_classifier(model)
    classifier = known.fresh(ctx.seed)
    classifier.trained_on = known.trained_on
    fit(ctx, classifier, left, params, label="train without flagged rows")
    ctx.figures(rows_left_out=int(flagged.sum()), rows=len(samples))
    return seal_classifier(classifier, ctx.out / "model")
