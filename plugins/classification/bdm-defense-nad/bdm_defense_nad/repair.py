"""Attention distillation: CE + sum over stages of beta times the distance of normalised attention maps."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_nad.params import NadParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.tuning import tune_at_strengths
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.models.feature_maps import outputs_of, stage_ends
from bdm_kit_classification.models.trial import examples_for
from bdm_kit_classification.tasks.text import TEXT_TASK
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
        example = rows.modality.collate(rows.raw([0]), student)
        ends = layers_of(student, example, len(params.beta))
        teacher = copy.deepcopy(student)
        wanted = layers_of(teacher, example, len(params.beta))
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
            for weight, layer, one, goal in zip(weights, ends, maps, goals, strict=True):
                pair = (of_tokens(layer, made, batch.inputs) if made.ndim == 3 else made for made in (one, goal))
                total = total + weight * distance(*pair, params.power)
            return total

        fit(ctx, student, rows, params, Changes(loss=loss), label=label)

    return tune_at_strengths(ctx, params, model, data, tune)


def require_layers(model: Model, count: int) -> None:
    """Refuse a model without layers whose attention could be distilled, before anything is trained.

    Raises:
        UserError: so it is.
        ArtifactError: as :func:`bdm_kit_classification.models.classifier.load_classifier`.
    """
    classifier = load_classifier(model)
    layers_of(classifier, examples_for(classifier), count)


def layers_of(classifier: Classifier, inputs: Tensor, count: int) -> list[nn.Module]:
    """The modules whose attention is distilled: the last of each stage; of texts the last ``count`` prunable layers
    that give something for each token, as the pooler before a head does not.

    Args:
        classifier: in evaluation mode.
        inputs: a few, as it takes them.
        count: how many layers of a network of texts.

    Raises:
        UserError: the model has no feature maps.
    """
    if classifier.task != TEXT_TASK:
        return stage_ends(classifier, inputs)
    layers = [layer.layer for layer in classifier.prunable_layers()]
    with outputs_of(layers) as outputs, torch.no_grad():
        classifier(inputs)
    found = [layer for layer, made in zip(layers, outputs, strict=True) if _each_token(layer, made, inputs)]
    if not found:
        raise UserError("this model of texts has no layer whose attention could be distilled: choose another model")
    return found[-count:]


def _each_token(layer: nn.Module, made: Tensor, tokens: Tensor) -> bool:
    """Whether a layer made something of each of the tokens (N, L)."""
    place = 2 if isinstance(layer, nn.Conv1d) else 1
    return made.ndim == 3 and (len(made), made.shape[place]) == tuple(tokens.shape)


def of_tokens(layer: nn.Module, made: Tensor, tokens: Tensor) -> Tensor:
    """What a layer makes of each token, (N, C, 1, L), and zero behind the end of a text.

    Args:
        layer: a convolution over the text, or a linear map of each token.
        made: (N, C, L) of a convolution, else (N, L, C).
        tokens: (N, L), negative behind the end.

    >>> of_tokens(nn.Linear(1, 1), torch.ones(1, 2, 1), torch.tensor([[5, -1]])).tolist()
    [[[[1.0, 0.0]]]]
    """
    maps = made if isinstance(layer, nn.Conv1d) else made.transpose(1, 2)
    return (maps * (tokens >= 0)[:, None])[:, :, None]


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
