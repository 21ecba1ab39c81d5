"""STRIP in its two roles: a detector of inputs that asks a black box, and one of training rows."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection, Purified
from bdm_defense_strip.entropy import divided, scorer
from bdm_defense_strip.params import StripParams, StripRowsParams
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.defending.asking import BlackBox, Known
from bdm_kit_classification.defending.inputs import judge_inputs, reject_inputs
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.stages import kit_params


def detect(ctx: Context, params: StripParams, data: Data, suspects: Data) -> Detection:
    """Judge inputs."""
    blended, held = divided(params, data, params.held_out, ctx.seed)
    box = BlackBox(ctx)
    found = judge_inputs(ctx, scorer(box, blended, params), suspects, held, params.false_positive_rate)
    return found.model_copy(
        update={"network_evaluations": box.asked, "clean_samples": len(blended) + found.clean_samples}
    )


def reject(ctx: Context, params: StripParams, data: Data, inputs: Data) -> Purified:
    """Turn inputs away."""
    blended, held = divided(params, data, params.held_out, ctx.seed)
    score = scorer(BlackBox(ctx), blended, params)
    return reject_inputs(ctx, score, inputs, held, params.false_positive_rate)


def detect_rows(ctx: Context, params: StripRowsParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Judge training rows."""
    blended, held = divided(params, data, params.held_out, ctx.seed)
    known = Known(load_classifier(model, ctx.device), kit_params(ctx).batch_size)
    score = scorer(known, blended, params)
    found = judged_rows("data", score(open_samples(suspects)), score(held), params.false_positive_rate)
    return found.model_copy(
        update={"network_evaluations": known.asked, "clean_samples": len(blended) + found.clean_samples}
    )
