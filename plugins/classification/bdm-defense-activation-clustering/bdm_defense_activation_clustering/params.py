"""Parameters of ``defense:activation-clustering``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams


class ActivationClusteringParams(RowDetectorParams):
    """Parameters of ``defense:activation-clustering``."""

    rule: Literal["reserve", "class", "reclassification"] = Field(
        "reserve",
        description="reserve: rows are flagged whose score few clean rows reach; class: the whole smaller cluster of "
        "classes whose two clusters differ in size and lie apart, as published; reclassification: the smaller clusters "
        "that a new model, trained without them, takes for another class, as published too.",
    )
    reclassified: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="T of the rule reclassification: a cluster is poisoned where fewer rows than so many times those "
        "of the most frequent other class are classified as their label; 1 is published.",
    )
    largest_share: float = Field(
        0.35, gt=0, le=0.5, description="Rule class: the smaller cluster of a poisoned class is smaller; as released."
    )
    least_silhouette: float = Field(
        0.1, ge=-1, lt=1, description="Rule class: the silhouette of a poisoned class is larger; as released."
    )
    reduction: Literal["ica", "pca"] = Field(
        "ica", description="How features are reduced: independent or principal components of each class."
    )
    components: int = Field(10, ge=1, le=10_000, description="Dimensions that are left; fewer in small classes.")
