"""Attention distillation: CE + sum over stages of beta times the distance of normalised attention maps."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_nad.params import NadParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.tuning import tune_at_strengths
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.models.feature_maps import outputs_of, stage_ends
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.training.sharpness import sharpness_aware
from bdm_torch.draws import Draw


def distil_attention(ctx: Context, params: NadParams, model: Model, data: Data) -> Model:
    """Tune a teacher on the rows of ``data``, then distil its attention into the model; sealed.

    The teacher is the same at every strength: trained once, then taken from its checkpoint.

    Raises:
        UserError: the model has no feature maps.
    """

    def tune(student: Classifier, rows: LabelledSamples, params: NadParams, label: str) -> None:
        ends = stage_ends(student, rows.modality.collate(rows.raw([0]), student))
        teacher = copy.deepcopy(student)
        wanted = stage_ends(teacher, rows.modality.collate(rows.raw([0]), teacher))
        step = sharpness_aware(teacher, params.rho) if params.teacher == "ft-sam" else None
        teaching = {"epochs": params.teacher_epochs, "learning_rate": params.teacher_rate}
        fit(ctx, teacher, rows, params.model_copy(update=teaching), Changes(step=step), label="teacher")
        teacher.requires_grad_(False)
        weights = stage_weights(params.beta, len(ends))

        def loss(network: nn.Module, batch: Batch, draw: Draw) -> Tensor:
            with outputs_of(wanted) as goals, torch.no_grad():
                teacher(batch.inputs)
            with outputs_of(ends) as maps:
                logits = network(batch.inputs)
            total = functional.cross_entropy(logits, batch.labels, label_smoothing=params.label_smoothing)
            for weight, one, goal in zip(weights, maps, goals, strict=True):
                total = total + weight * distance(one, goal, params.power)
            return total

        fit(ctx, student, rows, params, Changes(loss=loss), label=label)

    return tune_at_strengths(ctx, params, model, data, tune)


def stage_weights(beta: list[float], stages: int) -> list[float]:
    """A weight for each stage, from the input to the output.

    >>> stage_weights([1.0, 2.0], 4), stage_weights([1.0, 2.0, 3.0], 2)
    ([1.0, 1.0, 1.0, 2.0], [2.0, 3.0])
    """
    return ([beta[0]] * (stages - len(beta)) + beta)[-stages:]


def attention(maps: Tensor, power: float) -> Tensor:
    """Attention (N, H W) of feature maps (N, C, H, W): the sum over channels of |.|^power, of 2-norm 1.

    >>> attention(torch.tensor([[[[3.0, 0.0]], [[0.0, 2.0]]]]), power=1).tolist()
    [[0.8320503234863281, 0.5547001957893372]]
    """
    return functional.normalize(maps.abs().pow(power).sum(1).flatten(1), dim=1)


def distance(maps: Tensor, goal: Tensor, power: float) -> Tensor:
    """Mean square over samples and places of the difference of two attentions."""
    return (attention(maps, power) - attention(goal, power)).square().mean()
