"""Parameters of ``metric:pre-activation``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field, Params


class PreActivationParams(Params):
    """Parameters of ``metric:pre-activation``."""

    samples: int = Field(
        64, ge=2, le=100_000, description="Pairs, without and with the trigger, whose pre-activations are compared."
    )
    layers: int = Field(
        1,
        ge=1,
        le=1000,
        description="So many of the first convolutions, not counting the network's first and last.",
    )
    filters: int = Field(5, ge=1, le=8, description="So many filters with the highest and the lowest scores are shown.")
    score: Literal["auto", "taylor", "ablation"] = Field(
        "auto",
        description="taylor: |weight times mean gradient| of the loss; ablation: how far the loss falls without the "
        "filter. auto: taylor, of unconditional models ablation.",
    )
    draws: int = Field(16, ge=1, le=10_000, description="Batches of noise and timesteps that scores rest on.")
    step: int = Field(10, ge=1, le=100_000, description="At this sampling step pre-activations are taken, or the last.")
    steps: int | None = Field(
        None, ge=1, le=100_000, description="Sampling steps; by default 20, of unconditional models as many as in use."
    )
    guidance: float = Field(3.0, ge=0, description="Text-to-image: scale of classifier-free guidance.")
    clean_model: str = Field(
        "",
        description="Folder of the clean model, or small-world: the suspect's answer is compared with its. Empty: with "
        "the suspect's own answer without the trigger.",
    )
    batch_size: int = Field(16, ge=1, le=10_000, description="Samples at once.")
