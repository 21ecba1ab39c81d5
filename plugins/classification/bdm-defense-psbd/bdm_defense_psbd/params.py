"""Parameters of ``defense:psbd``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams, between


class PsbdParams(RowDetectorParams):
    """Parameters of ``defense:psbd``."""

    rates: list[float] = Field(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        min_length=1,
        description="Dropout rates to choose from, each in (0, 1).",
    )
    _rates = between("rates", 0, 1, rising=False)
    wanted_shift: float = Field(
        0.8, gt=0, le=1, description="The rate is one at which so many clean rows change their class, if any is."
    )
    passes: int = Field(3, ge=1, le=10_000, description="Predictions under dropout that are averaged; published 3.")
    layers: Literal["all", "last-half"] = Field(
        "last-half", description="Behind which convolutions activations are dropped."
    )
    checkpoint_epochs: int = Field(
        0,
        ge=0,
        le=100_000,
        description="What is looked at: 0: the model; else a new network of its architecture after so many of the "
        "epochs of its training on the training rows, as published.",
    )

    @model_validator(mode="after")
    def _within_the_training(self) -> PsbdParams:
        """A checkpoint comes from a training that is not over yet, or just over."""
        if self.checkpoint_epochs > self.epochs:
            raise ValueError(f"checkpoint_epochs={self.checkpoint_epochs} is beyond the {self.epochs} epochs")
        return self
