"""Parameters of ``defense:flare``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams

MISSING_UMAP = (
    "defense:flare with embedding=umap needs umap-learn: pip install 'bdm-defense-flare[umap]', or set embedding=none"
)


class FlareParams(RowDetectorParams):
    """Parameters of ``defense:flare``."""

    rule: Literal["reserve", "cluster", "tree"] = Field(
        "reserve",
        description="reserve: the score is the distance from clean rows; tree: the rows that part while the largest "
        "cluster stays whole, as published; cluster: the densest of the smaller clusters. The last two have no clean "
        "rows.",
    )
    numbers: Literal["extremes", "likelihoods"] = Field(
        "extremes",
        description="What a row has of a normalisation: extremes: the logarithm of its largest squared standardised "
        "value; likelihoods: its least log likelihood, as published.",
    )
    last_layers_left_out: int = Field(
        0,
        ge=0,
        description="The last normalisations that are not looked at; rule tree: at least, more until a cluster is "
        "stable.",
    )
    smallest_cluster: int = Field(
        40, ge=2, le=1_000_000, description="Rules cluster and tree: rows that a cluster has at least."
    )
    neighbours: int = Field(10, ge=1, le=10_000, description="Rules cluster and tree: rows that make a place dense.")
    embedding: Literal["none", "umap"] = Field(
        "none",
        description="Rules cluster and tree: what is clustered: the standardised vectors, or their places in two "
        "dimensions by UMAP, as published (umap-learn, the extra umap).",
    )
    embedding_neighbours: int = Field(40, ge=2, le=10_000, description="Neighbours of UMAP; 40 is published.")
    stability: float = Field(
        0.02,
        ge=0,
        le=1e6,
        description="xi of the rule tree: a cluster is stable that lasts longer, in densities (1 / distance).",
    )
    depth: int = Field(3, ge=1, le=1000, description="Rule tree: splits that are followed to find a stable cluster.")
