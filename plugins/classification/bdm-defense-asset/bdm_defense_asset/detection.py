"""Which training rows are forgotten when the model keeps clean rows and forgets all training rows."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_asset.offset import mixture_threshold, separate
from bdm_defense_asset.params import AssetParams
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import load_classifier


def detect(ctx: Context, params: AssetParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row by its loss after the opposite training."""
    rows = open_samples(suspects)
    clean, held = open_reserve(data, params.held_out, ctx.seed)
    loss_of = separate(ctx, params, load_classifier(model, ctx.device), rows, clean)
    scores, held_scores = loss_of(rows), loss_of(held)
    in_a_step = params.offset_batch * (2 + params.pool * (1 + params.concentrated))
    evaluations = len(rows) + len(held) + round(params.offset_steps * in_a_step)
    found = judged_rows("data", scores, held_scores, params.false_positive_rate, network_evaluations=evaluations)
    if params.rule == "reserve":
        return found
    threshold = mixture_threshold(scores, ctx.seed)
    flagged = int((scores > threshold).sum())
    note = f"{flagged} of {len(rows)} training rows belong to the upper of two normal distributions of losses"
    return found.model_copy(update={"threshold": threshold, "note": note})
