"""The parameters of TERD's estimation of a trigger in the initial noise, whatever the task. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_diffusion.inversion.removal_params import RemovalParams


class PairSearchParams(RemovalParams):
    """Parameters of :func:`bdm_kit_diffusion.inversion.pair_search.search`; steps and the like are the removal's."""

    starts: tuple[str, ...] = Field(
        ("-U(0,1)", "U(0,1)", "U(-1,1)"),
        min_length=1,
        description="Where the estimation starts: names from the kit's library of start points; -U(0,1) is published.",
        calibrated=True,
    )
    estimation_steps: int = Field(200, ge=0, description="Steps of stage 1, on x_0 ~ N(0, I).", calibrated=True)
    refinement_steps: int = Field(
        20, ge=0, description="Steps of stage 2, on what the model itself paints.", calibrated=True
    )
    pairs: int = Field(4, ge=1, description="Pairs of noise a step, for each start.", calibrated=True)
    refinement_pairs: int = Field(2, ge=1, description="Likewise in stage 2.", calibrated=True)
    estimation_learning_rate: float = Field(
        0.5, gt=0, le=100, description="SGD's rate for the trigger.", calibrated=True
    )
    deviation_learning_rate: float = Field(
        0.1,
        ge=0,
        le=10,
        description="SGD's rate for gamma, the noise's standard deviation under the trigger.",
        calibrated=True,
    )
    first_deviation: float = Field(0.0, ge=0, le=2, description="Where gamma starts, at every pixel.", calibrated=True)
    norm_weight: float = Field(
        5e-5, ge=0, description="Weight of -||r||_1, which keeps the trigger from 0.", calibrated=True
    )
    largest_gradient: float = Field(
        0.1, gt=0, description="In stage 2 the gradient of the trigger is clipped to this norm.", calibrated=True
    )
    window: float = Field(
        0.03,
        gt=0,
        le=0.5,
        description="Share of the timesteps, at least one, that count as the last (and the first).",
        calibrated=True,
    )
    chain: int = Field(10, ge=1, description="DDIM steps of the chain that stage 2 differentiates.", calibrated=True)
    evaluation_pairs: int = Field(
        64,
        ge=8,
        le=100_000,
        description="Pairs of noise on which the estimates are compared with the start and the zero trigger.",
        calibrated=True,
    )
    samples: int = Field(
        16, ge=8, le=100_000, description="Images generated from the trigger and from each start, as evidence."
    )
