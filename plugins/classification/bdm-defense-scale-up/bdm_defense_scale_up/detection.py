"""The two detectors: with a reserve, and without any data."""

from __future__ import annotations

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.records import Detection, Purified
from bdm_defense_scale_up.consistency import consistency, usual
from bdm_defense_scale_up.params import ScaleUpDataFreeParams, ScaleUpParams
from bdm_kit_classification.data.samples import INPUTS, LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.defending.asking import BlackBox
from bdm_kit_classification.defending.inputs import ScoreInputs, judge_inputs, reject_inputs
from bdm_kit_classification.defending.reserve import open_reserve


def detect(ctx: Context, params: ScaleUpParams, data: Data, suspects: Data) -> Detection:
    """Judge inputs by standardised consistency; the threshold comes from held-out clean rows."""
    box = BlackBox(ctx)
    score, held, fitted = _standardised(box, params, data, ctx.seed)
    found = judge_inputs(ctx, score, suspects, held, params.false_positive_rate)
    return found.model_copy(update={"network_evaluations": box.asked, "clean_samples": fitted + found.clean_samples})


def reject(ctx: Context, params: ScaleUpParams, data: Data, inputs: Data) -> Purified:
    """Turn inputs away."""
    score, held, _ = _standardised(BlackBox(ctx), params, data, ctx.seed)
    return reject_inputs(ctx, score, inputs, held, params.false_positive_rate)


def _standardised(
    box: BlackBox, params: ScaleUpParams, data: Data, seed: int
) -> tuple[ScoreInputs, LabelledSamples, int]:
    kept, held = open_reserve(data, params.held_out, seed)
    known = usual(consistency(box, kept, params.factors), len(kept.classes), len(params.factors))
    return lambda samples: known.standardised(consistency(box, samples, params.factors)), held, len(kept)


def detect_without_data(ctx: Context, params: ScaleUpDataFreeParams, suspects: Data) -> Detection:
    """Judge inputs by their consistency alone, with the paper's threshold."""
    box = BlackBox(ctx)
    shares = consistency(box, open_samples(suspects), params.factors).shares.tolist()
    flagged = sum(share > params.threshold for share in shares)
    return Detection(
        level="input",
        scores=shares,
        threshold=params.threshold,
        note=f"of {flagged} of {len(shares)} inputs more than a share of {params.threshold:g} of the amplified copies "
        "are predicted alike; this threshold keeps no false positive rate",
        network_evaluations=box.asked,
    )


def reject_without_data(ctx: Context, params: ScaleUpDataFreeParams, inputs: Data) -> Purified:
    """Turn inputs away by the paper's threshold."""
    samples = open_samples(inputs)
    shares = consistency(BlackBox(ctx), samples, params.factors).shares
    rejected = (shares > params.threshold).tolist()
    return Purified(inputs=seal_samples(ctx.out / "data", samples, format=INPUTS), rejected=rejected)
