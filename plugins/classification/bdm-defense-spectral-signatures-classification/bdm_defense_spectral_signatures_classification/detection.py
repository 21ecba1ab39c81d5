"""Which training rows stand out in their class; the score is that of :mod:`bdm_torch.spectral_signatures`."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_spectral_signatures_classification.params import SpectralSignaturesParams
from bdm_kit_classification.defending.feature_rows import FeatureRows, suspects_and_clean
from bdm_kit_classification.defending.judging import judged_rows
from bdm_torch.spectral_signatures import first_direction, relative_scores


def detect(ctx: Context, params: SpectralSignaturesParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row by its squared projection on the first direction of its class."""
    rows, clean = suspects_and_clean(ctx, model, suspects, data)
    evaluations = len(rows) + len(clean)
    if params.rule == "reserve":
        scores, clean_scores = projections(rows, clean)
        return judged_rows("data", scores, clean_scores, params.false_positive_rate, network_evaluations=evaluations)
    names = [f"{label:06d}" for label in rows.labels.tolist()]
    relative, _ = relative_scores(rows.features, names, params.surplus * params.poison_rate)
    return Detection(
        level="data",
        scores=relative.tolist(),
        threshold=1.0,
        conclusive=False,
        note=f"{int((relative > 1).sum())} of {len(rows)} rows stand out; the rule flags as many of clean data",
        network_evaluations=evaluations,
    )


def projections(rows: FeatureRows, clean: FeatureRows) -> tuple[Tensor, Tensor]:
    """tau of the suspects (N,) and of the clean rows (M,), each with centre and direction of the suspects of its label.

    tau is not divided by anything of the class: where rows are poisoned, the first direction has more variance than in
    other classes. Clean rows of labels that no suspect has get 0.
    """
    scores, clean_scores = torch.zeros(len(rows)).double(), torch.zeros(len(clean)).double()
    for label, own in rows.by_class():
        centre, direction, _ = first_direction(rows.features[own])
        known = clean.labels == label
        scores[own] = ((rows.features[own] - centre) @ direction).square()
        clean_scores[known] = ((clean.features[known] - centre) @ direction).square()
    return scores, clean_scores
