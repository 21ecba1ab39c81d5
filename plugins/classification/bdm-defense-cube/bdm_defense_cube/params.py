"""Parameters of ``defense:cube``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.training.params import ClassifierTraining


class CubeParams(ClassifierTraining):
    """Parameters of ``defense:cube``; the training is that from scratch without the flagged rows."""

    components: int = Field(10, ge=1, le=10_000, description="Principal components that features are projected on.")
    neighbours: int = Field(
        20,
        ge=1,
        le=100_000,
        description="Rows within whose distance a row is a core of a cluster (min_samples of HDBSCAN), and the least "
        "rows of a cluster.",
    )
    smallest: int | None = Field(
        None,
        ge=2,
        le=100_000,
        description="The least rows of a cluster (min_cluster_size), released: 5; null: as many as neighbours.",
    )
    largest_share: float = Field(
        0.5, gt=0, le=1, description="Clusters of this share of their class or more are kept beside the largest one."
    )
    scattered: Literal["keep", "drop"] = Field(
        "drop", description="What is done with rows that lie in no cluster; as released they are dropped."
    )
