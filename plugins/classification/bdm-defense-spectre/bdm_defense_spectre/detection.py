"""Which training rows stand out in whitened features of their class."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_spectre.filtering import filtered_covariance
from bdm_defense_spectre.params import SpectreParams
from bdm_defense_spectre.whitening import covariance_of_clean, robust_covariance, scores, sizes_for, whiten
from bdm_kit_classification.defending.feature_rows import divided, suspects_and_clean
from bdm_kit_classification.defending.judging import judged_rows

FEWEST = 5
"""Rows of a class that an estimate of its own covariance needs; with fewer, clean rows whiten it."""


def detect(ctx: Context, params: SpectreParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row by the quantum entropy score in its class.

    Rows of a class that has no clean rows are whitened around the centre of the suspects.
    """
    rows, reserve = suspects_and_clean(ctx, model, suspects, data)
    clean, held = divided(reserve, params.held_out, ctx.seed)
    deviations = torch.cat([clean.features[own] - clean.features[own].mean(0) for _, own in clean.by_class()])
    found, of_held = torch.zeros(len(rows)).double(), torch.zeros(len(held)).double()
    means: dict[int, float] = {}
    for label, own in rows.by_class():
        features = rows.features[own]
        of_class = clean.of(label) if len(clean.of(label)) else features
        known_covariance = covariance_of_clean(of_class, deviations)
        if params.covariance == "reserve" or len(features) < FEWEST:
            estimate = known_covariance
        elif params.covariance == "robust":
            estimate = robust_covariance(features, ctx.seed)
        else:
            estimate = filtered_covariance(features, params.poison_rate * len(rows), params.filtered)
        rank = int(torch.linalg.matrix_rank(features - features.mean(0)))
        sizes = sizes_for(len(own), rank, params.most_components)
        removed = min(round(params.surplus * params.poison_rate * len(rows)), len(own) // 2)
        common = removed if params.compared == "common-space" else None
        whitening, weight = whiten(features, estimate, params.alpha, sizes, common)
        found[own] = scores(whitening(features), weight)
        known = held.labels == label
        of_held[known] = scores(whitening(held.features[known]), weight)
        if params.rule == "share" and params.chosen_by == "clean-rows":
            whitening, weight = whiten(features, known_covariance, params.alpha, sizes)
            means[label] = float(scores(whitening(features), weight).mean())
        else:
            means[label] = float(found[own].mean())
    ctx.figures(mean_scores={str(label): mean for label, mean in means.items()})
    evaluations = len(rows) + len(reserve)
    if params.rule == "reserve":
        return judged_rows("data", found, of_held, params.false_positive_rate, network_evaluations=evaluations)
    target = max(means, key=lambda label: means[label])
    judged = relative_to_share(found, rows.labels == target, params.surplus * params.poison_rate * len(rows))
    return Detection(
        level="data",
        scores=judged.tolist(),
        threshold=1.0,
        conclusive=False,
        note=f"{int((judged > 1).sum())} rows of class {target} stand out; the rule flags as many of clean data",
        network_evaluations=evaluations,
        clean_samples=len(reserve),
    )


def relative_to_share(found: Tensor, suspected: Tensor, count: float) -> Tensor:
    """Scores over the highest that is not flagged, where the ``count`` highest of the suspected rows are flagged, at
    least one of them never; those of other rows are brought below 1 in their order.
    """
    own = found[suspected].sort(descending=True).values
    cutoff = float(own[min(round(count), len(own) - 1)])
    relative = found / max(cutoff, 1e-12)
    return torch.where(suspected, relative, relative / (1 + relative))
