"""Train the expert and the auxiliary model, judge inputs by them, and turn inputs away."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection, Purified
from bdm_defense_badexpert.expert import Experts, train_expert
from bdm_defense_badexpert.params import BadExpertParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.inputs import judge_inputs, reject_inputs
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.stages import kit_params
from bdm_kit_classification.training.fitting import accuracy, fit


def detect(ctx: Context, params: BadExpertParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Judge inputs."""
    score, held, used = _experts(ctx, params, model, data)
    found = judge_inputs(ctx, score, suspects, held, params.false_positive_rate)
    spent = 3 * (len(found.scores) + len(held))
    return found.model_copy(update={"network_evaluations": spent, "clean_samples": used + found.clean_samples})


def reject(ctx: Context, params: BadExpertParams, model: Model, data: Data, inputs: Data) -> Purified:
    """Turn inputs away."""
    score, held, _ = _experts(ctx, params, model, data)
    return reject_inputs(ctx, score, inputs, held, params.false_positive_rate)


def _experts(ctx: Context, params: BadExpertParams, model: Model, data: Data) -> tuple[Experts, LabelledSamples, int]:
    """The trained models as a score, the rows that set the threshold, and how many others were used."""
    kept, held = open_reserve(data, params.held_out, ctx.seed)
    classifier, expert, auxiliary = (load_classifier(model, ctx.device) for _ in range(3))
    train_expert(ctx, expert, kept, params)
    fit(ctx, auxiliary, kept, params, label="auxiliary model")
    ctx.figures(expert_accuracy=accuracy(expert, held), auxiliary_accuracy=accuracy(auxiliary, held))
    return Experts(classifier, expert, auxiliary, kit_params(ctx).batch_size), held, len(kept)
