"""Parameters of ``defense:decree``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field, Params

PAPER: dict[str, Any] = {"steps": 1000, "success": 0.99, "patience": 5}


class DecreeParams(Params):
    """Parameters of ``defense:decree``."""

    steps: int = Field(300, ge=1, le=1_000_000, description="Steps of the search.")
    batch: int = Field(64, ge=2, le=100_000, description="Clean pictures a step.")
    rate: float = Field(0.5, gt=0, le=10, description="Learning rate at first (Adam).")
    later_rate: float = Field(0.1, gt=0, le=10, description="Learning rate after a fifth of the steps.")
    size_weight: float = Field(1e-3, gt=0, le=1000, description="Initial weight of the mask's size; it adapts itself.")
    factor: float = Field(5.0, gt=1, le=1000, description="What the weight is multiplied or divided by.")
    patience: int = Field(5, ge=1, le=1000, description="Steps in a row before the weight changes.")
    success: float = Field(
        0.99, gt=0, lt=1, description="Mean cosine between features from which on a mask makes pictures alike."
    )
    threshold: float = Field(
        0.1, gt=0, le=1, description="Share of the picture below which a mask is that of a backdoor; the paper's."
    )
