"""Parameters of ``defense:ufid``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field, Params


class UfidParams(Params):
    """Parameters of ``defense:ufid``. One configuration serves every model."""

    perturbations: int = Field(4, ge=1, description="M, perturbed copies of each query.")
    strength: float = Field(
        0.7,
        gt=0,
        le=10,
        description="c: a copy is (x + c e) / sqrt(1 + c^2). A large c outweighs a trigger of small norm.",
    )
    clean_queries: int = Field(
        64, ge=10, description="Clean queries that the defender draws to calibrate the threshold on the same model."
    )
    false_positive_rate: float = Field(
        0.05, gt=0, lt=0.5, description="Share of clean queries that the threshold may flag."
    )
    features: Literal["auto", "pixels"] = Field(
        "auto",
        description="auto: the kit's classifier where there is one for images of this shape, else pixels.",
    )
