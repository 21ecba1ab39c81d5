"""Parameters of ``defense:activation-clustering``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams


class ActivationClusteringParams(RowDetectorParams):
    """Parameters of ``defense:activation-clustering``."""

    reduction: Literal["ica", "pca"] = Field(
        "ica", description="How features are reduced: independent or principal components of each class."
    )
    components: int = Field(10, ge=1, le=10_000, description="Dimensions that are left; fewer in small classes.")
