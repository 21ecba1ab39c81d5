"""Features in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from bdm_kit_classification.analysis.umap_places import umap_places
from bdm_metric_feature_analysis.params import MISSING_UMAP

Array = np.ndarray[Any, Any]


def project(features: Array, kind: str, perplexity: float, seed: int) -> Array:
    """(N, 2) of features (N, F), at least 4 rows.

    Args:
        features: standardised by the caller, or not.
        kind: ``tsne`` (van der Maaten and Hinton 2008), ``umap`` (McInnes et al. 2018, arXiv 1802.03426), ``pca``.
        perplexity: of t-SNE, and the number of neighbours of UMAP; at most a third of the rows.
        seed: of both.

    Raises:
        UserError: UMAP is asked for and umap-learn is not installed.

    >>> project(np.eye(6), "pca", 30.0, 0).shape
    (6, 2)
    """
    if kind == "pca":
        centred = features - features.mean(0)
        left, singular, _ = np.linalg.svd(centred, full_matrices=False)
        found: Array = (left * singular)[:, :2]
        wide: Array = np.pad(found, ((0, 0), (0, 2 - found.shape[1])))
        return wide
    width = max(2.0, min(perplexity, (len(features) - 1) / 3))
    if kind == "umap":
        return umap_places(features, round(width), 0.1, seed, MISSING_UMAP)
    from sklearn.manifold import TSNE

    if not np.ptp(features, axis=0).any():  # all rows alike: there is nothing to lay out
        return np.zeros((len(features), 2))
    places: Array = np.asarray(
        TSNE(2, perplexity=width, init="random", random_state=seed % 2**32).fit_transform(features)
    )
    return places
