"""Entropy-based pruning (Zheng et al. 2022, EP): a unit that tells triggers has two modes on poisoned rows."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_ep.params import EpParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.preactivations import falling_cuts, preactivations, standardised
from bdm_kit_classification.defending.pruning import by_score, norm_units, prune_to, prune_within
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier

KNOB = "deviations below the layer's mean entropy"
SMALLEST = 1e-6
"""Values whose deviation is a smaller share of the largest are all the same: float32 does not tell more."""
RESOLUTION = 0.01
"""A spacing counts as no smaller, in deviations: the step of the authors' histogram. Else the entropy of a unit with
many equal values, such as those of blank borders and saturated strokes, would be what this number is."""


def prune(ctx: Context, params: EpParams, model: Model, data: Data, training_data: Data) -> Model:
    """Prune units of low entropy.

    Args:
        ctx: the model is sealed in ``ctx.out / "model"``.
        params: u, or how it is chosen.
        model: to repair.
        data: clean rows; a part of each class is held out for the choice, the others are not used.
        training_data: rows that the model was trained on.

    Raises:
        UserError: the model has no batch normalisation, or there are too few rows.
    """
    classifier = load_classifier(model, ctx.device)
    norm_units(classifier)
    _, held = open_reserve(data, params.held_out, ctx.seed)
    rows = open_samples(training_data)
    if len(rows) > params.rows:
        rows = rows.pick(random.Random(ctx.seed).sample(range(len(rows)), params.rows))
    scores = suspicion(classifier, rows, params.pooling)
    if params.deviations is None:
        prune_within(ctx, classifier, by_score(scores, falling_cuts(), knob=KNOB), held, params.accuracy_loss)
    else:
        cuts = sorted({*falling_cuts(), params.deviations}, reverse=True)
        prune_to(ctx, classifier, by_score(scores, cuts, knob=KNOB), cuts.index(params.deviations))
    return seal_classifier(classifier, ctx.out / "model")


def suspicion(classifier: Classifier, rows: LabelledSamples, pooling: str) -> dict[str, Tensor]:
    """By how many standard deviations each unit's entropy is below the mean of its layer, by normalisation."""
    seen = preactivations(classifier, rows, lambda maps: torch.stack([maps.amax((2, 3)), maps.mean((2, 3))], dim=2))
    kinds = {"max": [0], "mean": [1], "both": [0, 1]}[pooling]
    return {
        name: torch.stack([standardised(-entropies(values[:, :, kind])) for kind in kinds]).amax(0)
        for name, values in seen.items()
    }


def entropies(values: Tensor) -> Tensor:
    """Differential entropy of each column (n, units) once it has mean 0 and deviation 1, by Vasicek's estimator.

    Vasicek (1976): the mean of log(n / 2m (x[i+m] - x[i-m])) over the sorted sample, the ends repeated, with m the
    square root of n. Spacings are at least :data:`RESOLUTION`. A column without any spread has no entropy: the result
    is nan there.
    """
    values = values.double()
    count = len(values)
    window = int(count**0.5 + 0.5)
    spread = values.std(0, correction=0)
    ordered = ((values - values.mean(0)) / spread).sort(0).values
    padded = torch.cat([ordered[:1].expand(window, -1), ordered, ordered[-1:].expand(window, -1)])
    gaps = (padded[2 * window :] - padded[: -2 * window]).clamp_min(RESOLUTION)
    found = (gaps * count / (2 * window)).log().mean(0)
    return torch.where(spread > SMALLEST * values.abs().amax(0).clamp_min(SMALLEST), found, torch.nan)
