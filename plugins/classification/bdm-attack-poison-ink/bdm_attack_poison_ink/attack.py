"""Poison Ink (Zhang et al. 2022, arXiv 2108.02488): x' = E(x, ink(x)) hides the picture's own edges, in a colour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bdm_attack_poison_ink.params import PoisonInkParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.poison.poisoning import poison_training_rows, require_plan
from bdm_kit_classification.triggers.generators import frozen_state, network_of
from bdm_kit_classification.triggers.hiding import Hiding, HidingOptions, hidden, stored, train_hiding
from bdm_kit_classification.triggers.trigger import Phase, Trigger, apply_in_batches
from bdm_torch.draws import Draw

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def edges_of(x: Tensor, threshold: float) -> Tensor:
    """Edges (N, 1, H, W), 0 or 1: where Sobel's gradient of the mean channel reaches a share of its maximum.

    Args:
        x: pictures (N, C, H, W).
        threshold: the share.
    """
    across = torch.tensor(SOBEL).to(x)
    kernels = torch.stack([across, across.T])[:, None]
    padded = functional.pad(x.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    gradient = functional.conv2d(padded, kernels).square().sum(1, keepdim=True).sqrt()
    largest = gradient.amax((2, 3), keepdim=True).clamp_min(1e-6)
    return (gradient >= threshold * largest).to(x)


def ink_of(x: Tensor, colour: tuple[float, ...], threshold: float) -> Tensor:
    """The edges in the attacker's colour on black, (N, C, H, W)."""
    return edges_of(x, threshold) * torch.tensor(colour).to(x)[:, None, None]


@dataclass(frozen=True, eq=False)
class Ink(Trigger):
    """x' = E(x, ink(x)).

    Attributes:
        encoder, decoder: states of the two networks.
        colour: of the ink, as many values as the pictures have channels.
        threshold: of the edges.
        change: root mean square change of a pixel.
    """

    encoder: dict[str, Tensor]
    decoder: dict[str, Tensor]
    colour: tuple[float, ...]
    threshold: float
    change: float

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        return hidden(network_of(self.encoder, x), x, ink_of(x, self.colour, self.threshold), self.change)

    def read(self, x: Tensor) -> Tensor:
        """The ink (N, C, H, W) that the decoder finds in pictures."""
        return network_of(self.decoder, x)(x)


def poison(ctx: Context, params: PoisonInkParams, data: Data) -> Data:
    """Train encoder and decoder and poison rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the rate or the target is impossible.
    """
    samples = open_samples(data)
    require_plan(ctx, params, samples)  # what cannot be is said before anything is trained
    trigger = train_ink(ctx, params, samples)
    return poison_training_rows(ctx, params, data, trigger, facts={"ink_error": ink_error(trigger, samples)})


def train_ink(ctx: Context, params: PoisonInkParams, samples: LabelledSamples) -> Ink:
    """The trained networks with the ink."""
    given, channels = (params.red, params.green, params.blue), samples.stored.shape[1]
    colour = given if channels == 3 else (sum(given) / 3,) * channels

    def drawn(x: Tensor, draw: Draw) -> Tensor:
        shown = (draw.uniform(1, 1, 1) < 0.5).to(x)  # half hide nothing: the decoder must read, not draw
        return shown * ink_of(x, colour, params.edge_threshold)

    options = HidingOptions(params.encoder_steps, params.batch_size, params.encoder_rate, params.change, params.width)
    encoder, decoder = train_hiding(ctx, samples, Hiding(channels, channels, drawn, functional.mse_loss), options)
    return Ink(frozen_state(encoder), frozen_state(decoder), colour, params.edge_threshold, params.change)


def ink_error(trigger: Ink, samples: LabelledSamples) -> float:
    """Squared error of the ink that is read, as a share of the ink's own square; over the first 256 pictures."""
    some = samples.raw(range(min(256, len(samples))))
    ink = ink_of(some, trigger.colour, trigger.threshold)
    read = trigger.read(stored(apply_in_batches(trigger, some, "train", 0)))
    return round(float((read - ink).square().sum() / ink.square().sum().clamp_min(1e-6)), 4)
