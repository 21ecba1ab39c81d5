"""Which training rows belong to the second component of their class."""

from __future__ import annotations

import torch

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_scan.decomposition import decompose
from bdm_defense_scan.params import ScanParams
from bdm_defense_scan.untangling import deviations, untangle
from bdm_kit_classification.defending.feature_rows import divided, suspects_and_clean
from bdm_kit_classification.defending.judging import judged_rows


def detect(ctx: Context, params: ScanParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row: log likelihood ratio of the second component of its class over the usual one."""
    rows, reserve = suspects_and_clean(ctx, model, suspects, data)
    clean, held = divided(reserve, params.held_out, ctx.seed)
    space = decompose(clean, params.iterations, params.ridge)
    scores, held_scores = torch.zeros(len(rows)).double(), torch.zeros(len(held)).double()
    ratios = {}
    for label, own in rows.by_class():
        found = untangle(space.whitened(rows.features[own]), space.whitened(clean.of(label)))
        scores[own] = found.log_ratio(space.whitened(rows.features[own]))
        known = held.labels == label
        held_scores[known] = found.log_ratio(space.whitened(held.features[known]))
        ratios[label] = found.ratio
    statistics = dict(zip(ratios, deviations(torch.tensor(list(ratios.values()))).tolist(), strict=True))
    ctx.figures(class_statistics={str(label): value for label, value in statistics.items()})
    evaluations = len(rows) + len(reserve)
    if params.rule == "reserve":
        return judged_rows("data", scores, held_scores, params.false_positive_rate, network_evaluations=evaluations)
    mixed = [label for label, value in statistics.items() if value > params.class_threshold]
    in_mixed = torch.isin(rows.labels, torch.tensor(mixed, dtype=torch.int64))
    judged = torch.where(in_mixed, scores, -scores.abs())
    return Detection(
        level="data",
        scores=judged.tolist(),
        threshold=0.0,
        note=f"{len(mixed)} of {len(ratios)} classes are mixtures: {', '.join(map(str, mixed)) or 'none'}",
        network_evaluations=evaluations,
        clean_samples=len(reserve),
    )
