"""Parameters of ``defense:flare``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams


class FlareParams(RowDetectorParams):
    """Parameters of ``defense:flare``."""

    rule: Literal["reserve", "cluster"] = Field(
        "reserve",
        description="reserve: the score is the distance from clean rows; cluster: the densest of the smaller clusters, "
        "in the manner of the paper and without clean rows.",
    )
    numbers: Literal["extremes", "likelihoods"] = Field(
        "extremes",
        description="What a row has of a normalisation: extremes: the logarithm of its largest squared standardised "
        "value; likelihoods: its least log likelihood, as published.",
    )
    last_layers_left_out: int = Field(0, ge=0, description="The last normalisations that are not looked at.")
    smallest_cluster: int = Field(40, ge=2, le=1_000_000, description="Rule cluster: rows that a cluster has at least.")
    neighbours: int = Field(10, ge=1, le=10_000, description="Rule cluster: rows that make a place dense.")
