"""Parameters of ``metric:feature-analysis``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field, Params

MISSING_UMAP = (
    "metric:feature-analysis with projection=umap needs umap-learn: pip install 'bdm-metric-feature-analysis[umap]'"
)


class FeatureAnalysisParams(Params):
    """Parameters of ``metric:feature-analysis``."""

    samples: int = Field(400, ge=4, le=20_000, description="So many test rows are used at most, drawn at random.")
    projection: Literal["tsne", "umap", "pca"] = Field(
        "tsne", description="To two dimensions; umap needs the extra umap."
    )
    perplexity: float = Field(
        30.0, gt=1, le=1000, description="Of t-SNE, and neighbours of UMAP; less where there are few rows."
    )
