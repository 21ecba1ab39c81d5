"""Parameters of ``attack:bit-flip``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field, Params

PAPER: dict[str, Any] = {
    "epsilon": 0.04,
    "flips": 10,
    "kappa": 0.01,
    "start_steps": 500,
    "start_rate": 0.01,
    "rounds": 3000,
    "inner": 5,
    "trigger_step": 1e-5,
    "penalty": 1e-4,
    "growth": 1.01,
    "fill": False,
}


class BitFlipParams(Params):
    """Parameters of ``attack:bit-flip``."""

    target: int = Field(0, ge=0, description="Target class.")
    flips: int = Field(20, ge=1, le=100_000, description="Most bits of the last layer that may be flipped.")
    bits: int = Field(8, ge=2, le=16, description="Bits of a weight of the quantised last layer.")
    pictures: int = Field(128, ge=2, le=1_000_000, description="Clean training pictures that the attacker has.")
    epsilon: float = Field(0.2, ge=0, le=1, description="Largest value of the trigger's noise, in [0, 1].")
    kappa: float = Field(
        0.03,
        ge=0,
        le=1,
        description="Largest roughness of the flow: root mean square of its differences between "
        "neighbouring pixels, in half pictures.",
    )
    trigger_weight: float = Field(1000.0, gt=0, description="Weight of triggered pictures (gamma); clean ones have 1.")
    start_steps: int = Field(150, ge=0, le=1_000_000, description="Steps of the trigger alone, before any bit moves.")
    start_rate: float = Field(1.0, gt=0, le=100, description="Step size of noise and flow in these.")
    rounds: int = Field(40, ge=1, le=1_000_000, description="Updates of the multipliers (ADMM).")
    inner: int = Field(2, ge=1, le=1000, description="Steps of bits and trigger in each round.")
    bit_step: float = Field(1e-4, gt=0, le=1, description="Step size of the bits.")
    trigger_step: float = Field(1e-4, gt=0, le=1, description="Step size of noise and flow, with the bits.")
    penalty: float = Field(1e-3, gt=0, le=1000, description="Penalty of the constraints in the first round (rho).")
    growth: float = Field(1.08, ge=1, le=10, description="What the penalty is multiplied by each round, up to 100.")
    fill: bool = Field(
        True,
        description="Flips that are left over after the rounds go one by one to the bit that lowers the loss most.",
    )
    follow_steps: int = Field(10, ge=0, le=1000, description="Steps of noise and flow after each of these.")
