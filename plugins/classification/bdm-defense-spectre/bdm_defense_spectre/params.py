"""Parameters of ``defense:spectre``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams


class SpectreParams(RowDetectorParams):
    """Parameters of ``defense:spectre``."""

    covariance: Literal["reserve", "robust", "filter"] = Field(
        "reserve",
        description="What whitens a class: reserve: covariance of clean rows; filter: covariance and mean of the "
        "suspects that filters leave, as published; robust: minimum covariance determinant of the suspects.",
    )
    filtered: float = Field(
        2.0,
        gt=0,
        le=10,
        description="Covariance filter: so many times poison_rate of all rows, and half of a class, are left out at "
        "most; 2 is published.",
    )
    rule: Literal["reserve", "share"] = Field(
        "reserve",
        description="reserve: rows are flagged whose score few clean rows reach; share: the highest scores of the "
        "class with the highest mean score, as published.",
    )
    chosen_by: Literal["mean-score", "clean-rows"] = Field(
        "mean-score",
        description="Rule share: which class is taken: that of the highest mean score; clean-rows: that whose mean "
        "score is highest where the covariance of clean rows whitens all classes. The authors' code is told.",
    )
    compared: Literal["own-space", "common-space"] = Field(
        "own-space",
        description="How numbers of components are compared: by the mean score in the space of each; common-space: in "
        "that of the largest number, whitened by what the removal leaves, as published.",
    )
    alpha: float = Field(4.0, ge=0, le=100, description="Sharpness of the quantum entropy score; published 4.")
    most_components: int = Field(32, ge=1, le=10_000, description="Most principal components that are tried.")
    poison_rate: float = Field(
        0.05, gt=0, lt=0.5, description="epsilon of the rule share: the share of all rows that is expected at most."
    )
    surplus: float = Field(
        1.5,
        ge=1,
        le=4,
        description="Rule share and common-space: so many times poison_rate of all rows are flagged, or left out; 1.5 "
        "is published.",
    )
    held_out: float = Field(
        0.5, gt=0, lt=1, description="Share of the clean rows that whitens nothing, for the threshold."
    )
