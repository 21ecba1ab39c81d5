"""Parameters of ``defense:tabor``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.inversion.params import InversionParams


class TaborParams(InversionParams):
    """Parameters of ``defense:tabor``: those of every detector by inversion, and the weights of its regularisers.

    The weights are relative to ``size_weight``, which adapts itself and multiplies all of them.
    """

    threshold: float = Field(
        4.0, gt=0, le=100, description="Anomaly index above which a class is a target; 2 is the paper's."
    )
    mask_elastic: float = Field(1.0, ge=0, le=1e6, calibrated=True, description="Weight of |m|_1 + |m|_2^2, the mask.")
    outside_elastic: float = Field(
        0.1,
        ge=0,
        le=1e6,
        calibrated=True,
        description="Weight of |q|_1 + |q|_2^2 with q = (1 - m) p, outside the mask.",
    )
    mask_smoothness: float = Field(
        0.3, ge=0, le=1e6, calibrated=True, description="Weight of the squared differences of neighbours of the mask."
    )
    outside_smoothness: float = Field(
        0.03, ge=0, le=1e6, calibrated=True, description="Weight of the same of q, outside the mask."
    )
    blocking: float = Field(
        3.0,
        ge=0,
        le=1e6,
        calibrated=True,
        description="Weight of the cross entropy of x (1 - m) and the true class: a trigger covers no object.",
    )
    overlaying: float = Field(
        3.0,
        ge=0,
        le=1e6,
        calibrated=True,
        description="Weight of the cross entropy of m p alone and the target class: a trigger needs no object.",
    )
