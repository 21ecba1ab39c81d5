"""Which training rows are forgotten when the model keeps clean rows and forgets all training rows."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_asset.offset import density_threshold, loss_of, mixture_threshold, separate
from bdm_defense_asset.params import AssetParams
from bdm_defense_asset.released import separated
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import load_classifier


def detect(ctx: Context, params: AssetParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row by its loss after the opposite training."""
    rows = open_samples(suspects)
    clean, held = open_reserve(data, params.held_out, ctx.seed)
    classifier = load_classifier(model, ctx.device)
    if params.training == "copy":
        separate(ctx, params, classifier, rows, clean)
        in_a_step = params.offset_batch * (2 + params.pool * (1 + params.concentrated))
        evaluations = len(rows) + len(held) + round(params.offset_steps * in_a_step)
    else:
        classifier = separated(ctx, params, classifier, rows, clean)
        evaluations = len(rows) + len(held) + params.offset_steps * params.offset_batch * (2 + params.pool)
    scores, held_scores = loss_of(classifier, rows), loss_of(classifier, held)
    found = judged_rows("data", scores, held_scores, params.false_positive_rate, network_evaluations=evaluations)
    if params.rule == "reserve":
        return found
    of_two = params.rule == "mixture"
    threshold = mixture_threshold(scores, ctx.seed) if of_two else density_threshold(scores)
    note = f"{int((scores > threshold).sum())} of {len(rows)} training rows "
    note += (
        "belong to the upper of two normal distributions of losses" if of_two else "lie far above half of the losses"
    )
    return found.model_copy(update={"threshold": threshold, "note": note})
