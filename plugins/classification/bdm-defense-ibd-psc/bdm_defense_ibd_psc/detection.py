"""Judge and reject inputs by their consistency under amplified normalisations."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection, Purified
from bdm_defense_ibd_psc.amplification import choose_amplification, consistencies, require_norms
from bdm_defense_ibd_psc.params import IbdPscParams
from bdm_kit_classification.data.samples import INPUTS, LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.defending.inputs import ScoreInputs, judge_inputs, reject_inputs
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.stages import kit_params


def detect(ctx: Context, params: IbdPscParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Judge inputs."""
    score, held, used = _scorer(ctx, params, model, data)
    found = judge_inputs(ctx, score, suspects, held, params.false_positive_rate)
    if params.threshold is not None:
        flagged = sum(value > params.threshold for value in found.scores)
        note = f"{flagged} of {len(found.scores)} inputs have a consistency above {params.threshold:g}; this threshold "
        note += "keeps no false positive rate"
        found = found.model_copy(update={"threshold": params.threshold, "note": note})
    spent = (len(found.scores) + len(held)) * (params.models + 1) + used[1]
    return found.model_copy(update={"network_evaluations": spent, "clean_samples": used[0] + found.clean_samples})


def reject(ctx: Context, params: IbdPscParams, model: Model, data: Data, inputs: Data) -> Purified:
    """Turn inputs away."""
    score, held, _ = _scorer(ctx, params, model, data)
    if params.threshold is not None:
        samples = open_samples(inputs)
        rejected = (score(samples) > params.threshold).tolist()
        return Purified(inputs=seal_samples(ctx.out / "data", samples, format=INPUTS), rejected=rejected)
    return reject_inputs(ctx, score, inputs, held, params.false_positive_rate)


def _scorer(
    ctx: Context, params: IbdPscParams, model: Model, data: Data
) -> tuple[ScoreInputs, LabelledSamples, tuple[int, int]]:
    """The score, the rows that set the threshold, and how many others were used, for how many passes."""
    classifier = load_classifier(model, ctx.device)
    require_norms(classifier, params.models)
    kept, held = open_reserve(data, params.held_out, ctx.seed)
    found = choose_amplification(classifier, kept, params)
    ctx.curve("error on clean rows, by amplified layers", found.errors)
    ctx.figures(amplified_layers=found.layers, factor=found.factor)
    size = kit_params(ctx).batch_size
    score = lambda samples: consistencies(classifier, samples, found, params.models, size)  # noqa: E731
    return score, held, (len(kept), len(kept) * len(found.errors))
