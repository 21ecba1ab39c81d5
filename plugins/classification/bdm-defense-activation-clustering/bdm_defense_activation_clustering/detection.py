"""Which training rows lie in a small cluster apart from their class."""

from __future__ import annotations

from dataclasses import asdict

import torch

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_activation_clustering.clusters import split
from bdm_defense_activation_clustering.params import ActivationClusteringParams
from bdm_defense_activation_clustering.reclassification import reclassify
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.defending.feature_rows import suspects_and_clean
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.models.classifier import load_classifier


def detect(ctx: Context, params: ActivationClusteringParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row: margin towards its class's smaller cluster, times the class's silhouette.

    The clusters are made of the suspects alone; clean rows, scored in the same way, set the threshold. By the rules
    ``class`` and ``reclassification`` the whole smaller cluster of the classes that are judged to be poisoned is
    flagged, without clean rows.
    """
    rows, clean = suspects_and_clean(ctx, model, suspects, data)
    scores, clean_scores = torch.zeros(len(rows)).double(), torch.zeros(len(clean)).double()
    margins = torch.zeros(len(rows)).double()
    silhouettes, shares, poisoned = {}, {}, []
    for label, own in rows.by_class():
        clusters = split(rows.features[own], params.reduction, params.components, ctx.seed)
        if clusters is None:
            continue
        scores[own] = clusters.scores(rows.features[own])
        known = clean.labels == label
        if bool(known.any()):
            clean_scores[known] = clusters.scores(clean.features[known])
        silhouettes[str(label)], shares[str(label)] = clusters.silhouette, clusters.share
        margins[own] = clusters.margin(rows.features[own])
        if clusters.share < params.largest_share and clusters.silhouette > params.least_silhouette:
            poisoned.append(label)
    ctx.figures(silhouettes=silhouettes, shares_of_smaller_clusters=shares)
    evaluations, sources = len(rows) + len(clean), ""
    if params.rule == "reserve":
        return judged_rows("data", scores, clean_scores, params.false_positive_rate, network_evaluations=evaluations)
    if params.rule == "reclassification":
        questioned = margins > 0
        found = reclassify(ctx, params, load_classifier(model, ctx.device), open_samples(suspects), questioned)
        ctx.figures(reclassified={str(label): asdict(counts) for label, counts in found.items()})
        poisoned = [label for label, counts in found.items() if counts.poisoned(params.reclassified)]
        sources = "".join(f"; rows of {label} come from {found[label].source}" for label in poisoned)
        evaluations += params.epochs * int((~questioned).sum()) + int(questioned.sum())
    of_poisoned = torch.isin(rows.labels, torch.tensor(poisoned, dtype=rows.labels.dtype))
    judged = torch.where(of_poisoned, margins, margins.clamp_max(0))
    return Detection(
        level="data",
        scores=judged.tolist(),
        threshold=0.0,
        note=f"{len(poisoned)} of {len(silhouettes)} classes are poisoned: {', '.join(map(str, poisoned)) or 'none'}"
        f"{sources}; {int((judged > 0).sum())} rows are in their smaller clusters",
        network_evaluations=evaluations,
    )
