"""The surrogate of an attacker who knows rows of the target class and other, public data.

It learns the classes of the other data and, as one class more, the target's; then it sees the target class alone, for a
few epochs, so that it knows its features well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from bdm_attack_narcissus.params import NarcissusParams
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_classification.data.image_data import read_pictures
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.data.sources import find_source
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.poison.injection import train_surrogate
from bdm_kit_classification.tasks.registry import task_of
from bdm_kit_classification.training.fitting import fit


def train_on_other_data(ctx: Context, params: NarcissusParams, samples: LabelledSamples) -> tuple[Classifier, int]:
    """The surrogate, in evaluation mode, and its number of the target class.

    Args:
        ctx: of the stage.
        params: the other data, epochs, target.
        samples: training rows, of which those of the target class are used and no others.

    Raises:
        UserError: there are no such other data, or the training rows have none of the target class.
    """
    rows = joint_rows(params.auxiliary, samples, params.target, ctx)
    number = len(rows.classes) - 1
    surrogate = train_surrogate(ctx, rows, params.model_copy(update={"epochs": params.surrogate_epochs}))
    if params.warm_epochs:
        own = rows.pick(rows.rows_of_class(number))
        how = params.model_copy(update={"epochs": params.warm_epochs, "learning_rate": params.warm_rate})
        fit(ctx, surrogate, own, how, label="target class alone")
    return surrogate, number


def joint_rows(name: str, samples: LabelledSamples, target: int, ctx: Context) -> LabelledSamples:
    """The training rows of other data in the shape of these pictures, then those of the target class as one class more.

    Args:
        name: of the other data: built-in, or a folder.
        samples: training rows.
        target: whose rows are appended.
        ctx: of the stage, where a download may lie.

    Raises:
        UserError: there are no such data, or no rows of the target class.
    """
    own = samples.pick(samples.rows_of_class(target))
    if not len(own):
        raise UserError(f"the training rows have none of the target class {target}: there is nothing to optimise on")
    channels, height, width = own.stored.shape[1:]
    source = find_source(name, task_of(samples.task))
    if source.kind == "sealed":
        raise UserError(f"auxiliary {name} is a sealed artifact: name a built-in data set or a folder of pictures")
    parts = read_pictures(source, (channels, height, width), ctx.work)
    stored = fitted(parts.training[0], own.stored.shape[1:])
    classes = [*parts.classes, "target"]
    other = LabelledSamples(stored, parts.training[1], classes, samples.task)
    return other.followed_by(replace(own, labels=torch.full_like(own.labels, len(parts.classes)), classes=classes))


def fitted(stored: Tensor, shape: Sequence[int]) -> Tensor:
    """Pictures uint8 (N, C, H, W) with other channels and sizes: grey ones repeated or colours averaged, bilinear.

    >>> fitted(torch.full((2, 1, 8, 8), 7, dtype=torch.uint8), (3, 5, 6)).unique().tolist()
    [7]
    """
    channels, height, width = shape
    pictures = stored.float()
    if pictures.shape[1] != channels:
        pictures = pictures.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    if pictures.shape[2:] != (height, width):
        pictures = functional.interpolate(pictures, (height, width), mode="bilinear", antialias=True)
    return pictures.round().clamp(0, 255).to(torch.uint8)
