"""CUBE (Cui et al., NeurIPS 2022, arXiv 2206.08514, section 5): poisoned rows form a cluster of their own.

Features of all rows are projected and clustered by density; of each class the largest cluster is kept.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_cube.params import CubeParams
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.defending.feature_rows import feature_rows
from bdm_kit_classification.models.classifier import load_classifier

NO_CLUSTER = -1
SCATTERED = 0.5
"""The score of a row that lies in no cluster; of one in another cluster than most of its class it is above 1."""


def detect(ctx: Context, params: CubeParams, model: Model, suspects: Data) -> Detection:
    """Score every training row: 0 in a cluster of its class that is kept, 0.5 in none, 1 to 2 in another one."""
    rows = feature_rows(load_classifier(model, ctx.device), open_samples(suspects))
    clusters, belonging = clustered(project(rows.features, params, ctx.seed), params.neighbours, params.smallest)
    scores = judged(clusters, belonging, rows.labels, params.largest_share)
    threshold = SCATTERED / 2 if params.scattered == "drop" else (SCATTERED + 1) / 2
    sizes = {str(label): _sizes(clusters[own]) for label, own in rows.by_class()}
    ctx.figures(clusters_of_classes=sizes)
    flagged = int((scores > threshold).sum())
    return Detection(
        level="data",
        scores=scores.tolist(),
        threshold=threshold,
        note=f"{flagged} of {len(scores)} training rows lie outside of the largest cluster of their class",
        network_evaluations=len(rows),
    )


def project(features: Tensor, params: CubeParams, seed: int) -> Tensor:
    """Principal components of features (N, F): (N, D) float64. Columns that do not vary are left out."""
    values = features.numpy().astype(np.float64)
    values = values[:, values.std(0) > 0]
    size = min(params.components, *values.shape)
    if size < 1:
        return torch.zeros(len(features), 1, dtype=torch.float64)
    reduced = PCA(size, random_state=seed % 2**32).fit_transform(values)
    return torch.from_numpy(np.asarray(reduced, dtype=np.float64))


def clustered(points: Tensor, neighbours: int, smallest: int | None = None) -> tuple[Tensor, Tensor]:
    """The cluster of each point (N, D), -1 for none, and how surely it belongs there, in [0, 1]; both (N,).

    HDBSCAN (Campello, Moulavi and Sander 2013). All points are of one cluster if there are too few for two.

    Args:
        points: (N, D) float64.
        neighbours: within whose distance a point is a core.
        smallest: the least points of a cluster; None for as many as neighbours.
    """
    least = max(2, min(neighbours, len(points) // 2))
    if len(points) < 2 * least:
        return torch.zeros(len(points), dtype=torch.int64), torch.ones(len(points), dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        found = HDBSCAN(min_samples=least, min_cluster_size=smallest or least).fit(points.numpy())
    return torch.from_numpy(found.labels_.astype(np.int64)), torch.from_numpy(found.probabilities_)


def judged(clusters: Tensor, belonging: Tensor, labels: Tensor, largest_share: float) -> Tensor:
    """The scores (N,) of rows from clusters, how surely rows belong to them, and labels.

    The largest cluster of a class is kept, and others of at least ``largest_share`` of it. A class all of whose rows
    lie in no cluster is kept.

    >>> judged(torch.tensor([0, 0, 1, -1]), torch.ones(4), torch.zeros(4), 0.5).tolist()
    [0.0, 0.0, 2.0, 0.5]
    """
    scores = torch.zeros(len(clusters), dtype=torch.float64)
    for label in labels.unique():
        own = labels == label
        sizes = {number: int((clusters[own] == number).sum()) for number in clusters[own].unique().tolist()}
        known = {number: size for number, size in sizes.items() if number != NO_CLUSTER}
        if not known:
            continue
        largest = max(known, key=lambda number: (known[number], -number))
        scores[own & (clusters == NO_CLUSTER)] = SCATTERED
        for number, size in known.items():
            if number != largest and size < largest_share * int(own.sum()):
                chosen = own & (clusters == number)
                scores[chosen] = 1 + belonging[chosen].double()
    return scores


def _sizes(clusters: Tensor) -> dict[str, int]:
    return {str(number): int((clusters == number).sum()) for number in clusters.unique().tolist()}
