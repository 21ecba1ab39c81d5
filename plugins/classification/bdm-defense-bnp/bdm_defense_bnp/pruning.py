"""Pruning by batch-normalisation statistics (Zheng et al. 2022, BNP): those of training still know the triggers."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_bnp.params import BnpParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.preactivations import falling_cuts, preactivations, standardised
from bdm_kit_classification.defending.pruning import by_score, norm_units, prune_to, prune_within
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier

KNOB = "deviations above the layer's mean"


def prune(ctx: Context, params: BnpParams, model: Model, data: Data) -> Model:
    """Prune units whose stored statistics diverge from those of clean rows.

    Args:
        ctx: the model is sealed in ``ctx.out / "model"``.
        params: u, or how it is chosen.
        model: to repair.
        data: clean rows; a part of each class is held out for the choice.

    Raises:
        UserError: the model has no batch normalisation, or there are too few rows.
    """
    classifier = load_classifier(model, ctx.device)
    norm_units(classifier)
    rows, held = open_reserve(data, params.held_out, ctx.seed)
    scores = {name: standardised(values) for name, values in divergences(classifier, rows, params.divergence).items()}
    if params.deviations is None:
        prune_within(ctx, classifier, by_score(scores, falling_cuts(), knob=KNOB), held, params.accuracy_loss)
    else:
        cuts = sorted({*falling_cuts(), params.deviations}, reverse=True)
        prune_to(ctx, classifier, by_score(scores, cuts, knob=KNOB), cuts.index(params.deviations))
    return seal_classifier(classifier, ctx.out / "model")


def divergences(classifier: Classifier, rows: LabelledSamples, kind: str = "clean-stored") -> dict[str, Tensor]:
    """Of each unit the divergence of what clean rows show from what training stored, or the other way round
    (``stored-clean``), by normalisation.
    """
    seen = preactivations(
        classifier, rows, lambda maps: torch.stack([maps.mean((2, 3)), maps.square().mean((2, 3))], dim=2)
    )
    found = {}
    for name, norm in norm_units(classifier).items():
        first, second = seen[name].double().mean(0).unbind(1)
        stored = (cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var))
        mean, variance = (value.detach().double().cpu() for value in stored)
        known, shown = (mean, variance + norm.eps), (first, second - first**2 + norm.eps)
        found[name] = divergence(*known, *shown) if kind == "stored-clean" else divergence(*shown, *known)
    return found


def divergence(mean: Tensor, variance: Tensor, clean_mean: Tensor, clean_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of normal distributions, N(mean, variance) from N(clean_mean, clean_variance).

    >>> divergence(*(torch.tensor(value) for value in (0.0, 1.0, 0.0, 1.0))).item()
    0.0
    """
    ratio = variance / clean_variance
    return (ratio - 1 - ratio.log() + (mean - clean_mean) ** 2 / clean_variance) / 2
