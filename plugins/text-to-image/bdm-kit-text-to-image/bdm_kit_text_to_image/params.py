"""Parameters of ``kit:text-to-image``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field, Params


class TextToImageKitParams(Params):
    """Parameters of ``kit:text-to-image``."""

    sampler: str | None = Field(
        default=None,
        description="Sampler: ddim, ddpm, pndm, deis, heun, lms, euler, euler-ancestral, unipc, dpm-solver++-2 and "
        "others; by default ddim.",
        stages=["generate"],
    )
    steps: int = Field(default=20, ge=1, le=100_000, description="Sampling steps.", stages=["generate"])
    guidance: float = Field(
        default=3.0,
        ge=0,
        description="Scale of classifier-free guidance; 1 is without.",
        stages=["generate"],
    )
    eta: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Stochasticity of ddim: 0 is deterministic, 1 is ancestral.",
        stages=["generate"],
    )
    batch_size: int = Field(default=64, ge=1, le=100_000, description="Images sampled at once.", stages=["generate"])
    prompts: int = Field(
        default=100,
        ge=2,
        le=1_000_000,
        description="Prompts to run clean and again with the trigger, for the metrics.",
        stages=["make-inputs"],
    )
    split: Literal["test", "validation"] = Field(
        default="test",
        description="Which half of the small world's prompts: choose settings on validation, report on test.",
        stages=["make-inputs"],
    )
    most_images: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Use at most so many training images; by default all, of the small world 4096.",
        stages=["open-data"],
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        default="no",
        description="Precision of the training of attacks and defenses: no is float32.",
        stages=["inject-backdoor", "repair"],
    )
