"""Parameters of ``attack:baasv``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import CleanLabelParams

PAPER: dict[str, Any] = {"poison_rate": 0.15, "clusters": 20, "identification_weight": 0.0}


class BaasvParams(CleanLabelParams):
    """Parameters of ``attack:baasv``."""

    poison_rate: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the training recordings to replace by tones; 0: none, for what the same training makes "
        "of clean data.",
    )
    epochs: int = Field(40, ge=1, le=100_000, description="Times that each training row is used.")
    selection: Literal["any"] = Field(  # type: ignore[assignment]
        "any", description="Rows that may be poisoned: those of all speakers; each keeps its label."
    )
    target: int = Field(
        0, ge=0, description="The speaker whose cluster's tone is the trigger of the ordinary scores (ASR)."
    )
    clusters: int = Field(8, ge=2, le=1000, description="Clusters of speakers, each with a tone of its own.")
    level: float = Field(-20.0, ge=-90, le=0, description="Effective value of the tones in dB below full scale.")
    lowest: float = Field(
        0.5, gt=0, lt=1, description="Lowest tone as a share of the Nyquist frequency; the highest is at .95."
    )
    objective: Literal["ge2e", "ge2e-contrast", "cross-entropy"] = Field(
        "ge2e",
        description="What the victim is trained for: verification, by the generalised end-to-end loss (its softmax or "
        "its contrast variant); or the identification of the training speakers alone.",
    )
    identification_weight: float = Field(
        1.0,
        ge=0,
        le=1000,
        description="Weight of the cross entropy of the last layer beside the end-to-end loss, so that the network "
        "tells its training speakers' names as well; 0: none, as in the paper.",
    )
    scale_rate: float = Field(
        0.01, gt=0, le=10, description="Peak learning rate (Adam) of scale and offset of the end-to-end loss."
    )
    clean_epochs: int = Field(6, ge=1, le=100_000, description="Epochs of the attacker's own clean network.")
