"""UMAP, for plugins that have umap-learn among their extras. Light: the library is imported when it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from bdm_core.errors import UserError

Array = np.ndarray[Any, Any]


def umap_places(values: Array, neighbours: int, least_distance: float, seed: int, missing: str) -> Array:
    """Places (N, 2) float64 of values (N, F) by UMAP (McInnes et al., 2018, arXiv 1802.03426).

    Args:
        values: at least 3 rows.
        neighbours: of each row, 2 or more.
        least_distance: between places, in [0, 1]; 0 packs them as closely as they will go.
        seed: of the layout.
        missing: what to say where umap-learn is not installed.

    Raises:
        UserError: umap-learn is not installed.
    """
    try:
        import umap  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise UserError(missing) from None
    made = umap.UMAP(n_neighbors=neighbours, min_dist=least_distance, random_state=seed % 2**32, n_jobs=1)
    return np.asarray(made.fit_transform(values), dtype=np.float64)
