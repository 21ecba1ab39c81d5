"""Parameters of ``attack:baasv``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import CleanLabelParams

PAPER: dict[str, Any] = {"poison_rate": 0.15, "clusters": 20}


class BaasvParams(CleanLabelParams):
    """Parameters of ``attack:baasv``."""

    poison_rate: float = Field(0.1, ge=0, le=1, description="Share of the training recordings to replace by tones.")
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
    clean_epochs: int = Field(6, ge=1, le=100_000, description="Epochs of the attacker's own clean network.")
