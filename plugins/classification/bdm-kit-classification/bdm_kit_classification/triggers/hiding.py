"""Hide something in pictures by a trained encoder, such that a decoder trained with it reads it again.

x' = clip(x + c r / rms(r)) with a network r(x, s) that sees the picture and, as further channels, what is hidden. The
change's root mean square over a picture is c before clipping, by construction: whatever the pictures and the seed, an
encoder neither collapses to changing nothing, as one does that is trained to change little, nor paints over pictures.
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


@dataclass(frozen=True)
class HidingOptions:
    """How encoder and decoder are trained.

    Attributes:
        steps: optimiser steps.
        batch_size: pictures a step.
        learning_rate: of both, Adam.
        change: c, the root mean square change of a pixel of each picture, before clipping.
        width: channels of both networks at full size.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    change: float = 0.04
    width: int = 16


@dataclass(frozen=True, eq=False)
class Hiding:
    """What is hidden and how it is read.

    Attributes:
        channels: of what is hidden.
        read: channels of the decoder's output.
        drawn: drawn(x, draw): what to hide in each picture of a batch (N, channels, H, W); where it is 0 throughout,
            nothing is hidden and the picture stays as it is.
        loss: loss(decoded, hidden): how badly it was read, a scalar.
    """

    channels: int
    read: int
    drawn: Callable[[Tensor, Draw], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]


def hidden(encoder: nn.Module, x: Tensor, planes: Tensor, change: float) -> Tensor:
    """x' = clip(x + c r(x, s) / rms(r)) to [0, 1]; x where s is 0 throughout.

    Args:
        encoder: r.
        x: pictures (N, C, H, W) in [0, 1].
        planes: s, (N, K, H, W).
        change: c.

    >>> x, planes = torch.full((2, 1, 4, 4), 0.5), torch.stack([torch.ones(1, 4, 4), torch.zeros(1, 4, 4)])
    >>> hidden(lambda both: both[:, :1] - 0.7, x, planes, 0.25)[:, 0, 0, 0].tolist()
    [0.25, 0.5]
    """
    raw = encoder(torch.cat([x, planes], 1))
    size = raw.square().mean((1, 2, 3), keepdim=True).clamp_min(1e-12).sqrt()
    something = (planes != 0).flatten(1).any(1).to(x)[:, None, None, None]
    result: Tensor = (x + something * change * raw / size).clamp(0, 1)
    return result


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
        changed = hidden(model, x, planes, options.change)
        noise = (draw.uniform(*x.shape[1:]) - 0.5) / 255
        return hiding.loss(decoder(changed + noise), planes)

    training = TrainingOptions(options.steps, options.batch_size, options.learning_rate, optimizer="adam")
    objective = Objective(loss, {"decoder": Along(decoder, options.learning_rate)})
    train_in_stage(ctx, encoder, objective, training, label="encoder", curve="encoder loss")
    return encoder, decoder


def stored(x: Tensor) -> Tensor:
    """Pictures as they are once stored with 8 bits."""
    return (x * 255).round() / 255
