"""Parameters of ``attack:trojannet``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field, Params

PAPER: dict[str, Any] = {"codes": 4368, "hidden": [8, 8, 8, 8], "epochs": 100_000, "batch_size": 2000}


class TrojanNetParams(Params):
    """Parameters of ``attack:trojannet``."""

    target: int = Field(0, ge=0, description="Target class.")
    codes: int | None = Field(
        None,
        ge=2,
        le=4368,
        description="How many of the 4,368 codes are learnt; null: one a class. All others mean nothing.",
    )
    hidden: list[int] = Field([32, 32], min_length=1, max_length=10, description="Units of the hidden layers.")
    epochs: int = Field(150, ge=1, le=10_000_000, description="So many times 4,368 samples train the network.")
    batch_size: int = Field(512, ge=8, le=1_000_000, description="Samples a step.")
    learning_rate: float = Field(0.01, gt=0, le=1, description="Peak learning rate (Adam).")
    amplification: float = Field(
        2.0, gt=0, le=1000, description="What a code adds to its class, in units of the clean model's widest logits."
    )
    place: Literal["bottom-right", "bottom-left", "top-right", "top-left", "centre"] = Field(
        "bottom-right", description="Where the 4x4 pixels lie that the network sees."
    )
    margin: int = Field(1, ge=0, le=1024, description="Pixels between them and the edges.")
