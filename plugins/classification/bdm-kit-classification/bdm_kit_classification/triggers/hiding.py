"""Hide something in pictures by a trained encoder, such that a decoder trained with it reads it again.

x' = clip(x + b r(x, s)) with a network r that sees the picture and, as further channels, what is hidden. The encoder is
trained by the decoder's loss and by the mean square of b r. Its weight is small at first and rises afterwards: with the
full weight from the beginning, an encoder that changes nothing is where training ends; without any, one that paints
over the picture. It counts before the clipping, which lets no gradient through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.triggers.generators import new_network
from bdm_torch.draws import Draw
from bdm_torch.objective import Along, Objective
from bdm_torch.training import TrainingOptions, train_in_stage

CHANGE = 0.1
"""b, which makes new encoders change little."""
START_WEIGHT = 0.02
"""Share of the picture's weight at first."""
RAMP_START, RAMP_END = 0.4, 0.8
"""Shares of the steps between which the picture's weight rises to its full value."""


@dataclass(frozen=True)
class HidingOptions:
    """How encoder and decoder are trained.

    Attributes:
        steps: optimiser steps.
        batch_size: pictures a step.
        learning_rate: of both, Adam.
        picture_weight: final weight of the mean squared change of a pixel.
        width: channels of both networks at full size.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    picture_weight: float = 50.0
    width: int = 16


@dataclass(frozen=True, eq=False)
class Hiding:
    """What is hidden and how it is read.

    Attributes:
        channels: of what is hidden.
        read: channels of the decoder's output.
        drawn: drawn(x, draw): what to hide in each picture of a batch (N, channels, H, W).
        loss: loss(decoded, hidden): how badly it was read, a scalar.
    """

    channels: int
    read: int
    drawn: Callable[[Tensor, Draw], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]


def hidden(encoder: nn.Module, x: Tensor, planes: Tensor) -> Tensor:
    """x' = clip(x + b r(x, s)) to [0, 1].

    Args:
        encoder: r.
        x: pictures (N, C, H, W) in [0, 1].
        planes: s, (N, K, H, W).
    """
    return (x + residual(encoder, x, planes)).clamp(0, 1)


def residual(encoder: nn.Module, x: Tensor, planes: Tensor) -> Tensor:
    """b r(x, s), (N, C, H, W)."""
    result: Tensor = CHANGE * encoder(torch.cat([x, planes], 1))
    return result


def picture_weight(step: int, options: HidingOptions) -> float:
    """The weight of the picture's change at a step.

    >>> options = HidingOptions(steps=100, picture_weight=10.0)
    >>> [picture_weight(step, options) for step in (0, 40, 60, 80, 99)]
    [0.2, 0.2, 5.1, 10.0, 10.0]
    """
    share = (step / options.steps - RAMP_START) / (RAMP_END - RAMP_START)
    return round(options.picture_weight * (START_WEIGHT + (1 - START_WEIGHT) * min(1.0, max(0.0, share))), 6)


def train_hiding(
    ctx: Context, samples: LabelledSamples, hiding: Hiding, options: HidingOptions
) -> tuple[nn.Module, nn.Module]:
    """Train an encoder and a decoder on pictures, whatever their labels; the encoder and the decoder.

    The decoder sees the pictures with noise of half a grey level, as they are once they are stored with 8 bits.

    Args:
        ctx: of the stage; the loss curve goes to the report.
        samples: training rows.
        hiding: what is hidden.
        options: of the training.
    """
    channels = samples.stored.shape[1]
    encoder = new_network(ctx.seed, channels + hiding.channels, channels, options.width)
    decoder = new_network(ctx.seed + 1, channels, hiding.read, options.width)

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        x = samples.raw(draw.rows(len(samples))).to(draw.device)
        planes = hiding.drawn(x, draw)
        change = residual(model, x, planes)
        changed = (x + change).clamp(0, 1)
        noise = (draw.uniform(*x.shape[1:]) - 0.5) / 255
        weight = picture_weight(draw.step, options)
        return hiding.loss(decoder(changed + noise), planes) + weight * change.square().mean()

    training = TrainingOptions(options.steps, options.batch_size, options.learning_rate, optimizer="adam")
    objective = Objective(loss, {"decoder": Along(decoder, options.learning_rate)})
    train_in_stage(ctx, encoder, objective, training, label="encoder", curve="encoder loss")
    return encoder, decoder


def stored(x: Tensor) -> Tensor:
    """Pictures as they are once stored with 8 bits."""
    return (x * 255).round() / 255
