"""Parameters of ``kit:diffusion``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core.plugin import Field, Params


class DiffusionKitParams(Params):
    """Parameters of ``kit:diffusion``."""

    sampler: str | None = Field(
        default=None,
        description="Sampler: ddpm, ddim, pndm, deis, heun, lms, euler, euler-ancestral, unipc, dpm-solver-2, "
        "dpm-solver++-2 and others; sde-ve, ode-ve for variance-exploding models; by default the model's own.",
        stages=["generate"],
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Sampling steps; by default all timesteps for ddpm, 20 for ODE solvers.",
        stages=["generate"],
    )
    eta: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Stochasticity of ddim: 0 is deterministic, 1 is ancestral.",
        stages=["generate"],
    )
    clip_sample: bool = Field(
        default=False,
        description="Clip the estimates of the clean image to [-1, 1] while sampling. It changes a backdoor's effect.",
        stages=["generate"],
    )
    corrector_steps: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Langevin corrections at each level of sde-ve; 0: none; null: as the model's scheduler says.",
        stages=["generate"],
    )
    corrector_snr: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Signal-to-noise ratio of these corrections; null: as the model's scheduler says.",
        stages=["generate"],
    )
    batch_size: int = Field(default=256, ge=1, le=100_000, description="Images sampled at once.", stages=["generate"])
    samples: int = Field(
        default=640,
        ge=2,
        le=1_000_000,
        description="Images to generate from clean noise, for the metrics; a share of the noise also gets the trigger.",
        stages=["make-inputs"],
    )
    most_images: int | None = Field(
        default=None,
        ge=1,
        description="Use at most so many training images; by default all.",
        stages=["open-data"],
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        default="no",
        description="Precision of the training of attacks and defenses: no is float32.",
        stages=["inject-backdoor", "repair"],
    )
