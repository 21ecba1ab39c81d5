"""Parameters of ``defense:asset``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams


class AssetParams(RowDetectorParams):
    """Parameters of ``defense:asset``."""

    training: Literal["copy", "new"] = Field(
        "copy",
        description="What is trained: copy: the model goes on; new: a new network with the goals and the inner network "
        "of the authors' code, which takes the model for its features alone.",
    )
    rule: Literal["reserve", "mixture", "density"] = Field(
        "reserve",
        description="Where the threshold comes from: reserve: clean rows; mixture: two normal distributions in the "
        "losses, in the manner of the paper; density: a normal distribution of the lower half of them, as released.",
    )
    offset_steps: int = Field(150, ge=1, le=1_000_000, description="Steps of the opposite training.")
    offset_batch: int = Field(64, ge=2, le=100_000, description="Clean rows in a step.")
    offset_learning_rate: float = Field(0.01, gt=0, le=10, description="Its learning rate.")
    highest_loss: float = Field(
        6.0, gt=0, le=1e6, description="Copy: rows whose loss is above this are not driven further."
    )
    pool: int = Field(4, ge=1, le=1000, description="So many times offset_batch training rows are drawn in a step.")
    concentrated: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Copy: share of the pool that is least like clean rows and used; 1: all, no concentration.",
    )
    concentration_steps: int = Field(50, ge=1, le=100_000, description="Steps of the network that concentrates.")
    held_out: float = Field(0.5, gt=0, lt=1, description="Share of the clean rows that is only for the threshold.")
