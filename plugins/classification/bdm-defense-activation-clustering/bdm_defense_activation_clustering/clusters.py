"""Two clusters in the activations of one class (Chen et al. 2018, arXiv 1811.03728, algorithm 1 and section 4).

Activations of the last hidden layer are reduced to a few independent components and split by 2-means. Of poisoned rows
and the class's own the model knows for different reasons that they belong to the class, so that they lie apart: the
silhouette is high, and the poison is the smaller part.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FastICA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from torch import Tensor

FEWEST = 4
"""Rows that a class needs to be split."""


@dataclass(frozen=True)
class Clusters:
    """The two clusters of a class.

    Attributes:
        silhouette: mean silhouette of the rows, in [-1, 1].
        share: of the class's rows in the smaller cluster, in [0, 0.5].
        margin: features (n, F) -> (n,): place along the line between the two centres, -1 at that of the larger
            cluster and 1 at that of the smaller; a row belongs to the smaller one above 0.
    """

    silhouette: float
    share: float
    margin: Callable[[Tensor], Tensor]

    def scores(self, features: Tensor) -> Tensor:
        """Margin times silhouette (none if that is negative): how suspicious rows are, in any class."""
        return max(self.silhouette, 0.0) * self.margin(features)


Values = NDArray[np.float64]


def principal(values: Values, size: int, seed: int) -> tuple[Any, Values]:
    """Principal components of values (N, F): what reduces, and ``size`` numbers of each row."""
    reducer = PCA(size, random_state=seed % 2**32)
    return reducer, reducer.fit_transform(values)


def independent(values: Values, size: int, seed: int) -> tuple[Any, Values]:
    """Independent components of values (N, F), fewer where the fixed-point iteration of so many breaks down.

    Between directions of nearly the same law FastICA can run into numbers that are not finite; with one direction less
    it mostly does not. Where it does with each number, the components are principal ones.
    """
    for count in range(size, 0, -1):
        reducer = FastICA(count, whiten="unit-variance", max_iter=500, random_state=seed % 2**32)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                reduced = reducer.fit_transform(values)
            except (ValueError, np.linalg.LinAlgError):  # the mixing matrix of such numbers cannot be had
                continue
        if np.isfinite(reduced).all():
            return reducer, reduced
    return principal(values, size, seed)


def split(features: Tensor, reduction: str, components: int, seed: int) -> Clusters | None:
    """Clusters of the features (N, F) of one class; None if there are too few rows, or no two different ones."""
    values = features.numpy().astype(np.float64)
    rank = int(np.linalg.matrix_rank(values - values.mean(0)))
    size = min(components, rank, len(values) - 2)
    if len(values) < FEWEST or size < 1:
        return None
    reducer, reduced = independent(values, size, seed) if reduction == "ica" else principal(values, size, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(2, n_init=10, random_state=seed % 2**32).fit(reduced)
    sizes = np.bincount(found.labels_, minlength=2)
    if not sizes.min():
        return None
    smaller = int(sizes.argmin())
    large, small = found.cluster_centers_[1 - smaller], found.cluster_centers_[smaller]
    direction = (small - large) / ((small - large) @ (small - large))

    def margin(rows: Tensor) -> Tensor:
        places = reducer.transform(rows.numpy().astype(np.float64))
        return torch.from_numpy(2 * (places - (large + small) / 2) @ direction)

    silhouette = float(silhouette_score(reduced, found.labels_))
    return Clusters(silhouette, float(sizes.min() / sizes.sum()), margin)
