"""Parameters of ``metric:activation-norm``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field, Params

Modules = Literal["auto", "ffn", "ffn-input", "key-value-input", "text-mlp", "conv"]


class ActivationNormParams(Params):
    """Parameters of ``metric:activation-norm``."""

    samples: int = Field(32, ge=1, le=100_000, description="Pairs, without and with the trigger, at most.")
    modules: Modules = Field(
        "auto",
        description="What is recorded: ffn (hidden units of the gated feed-forward layers), ffn-input, key-value-input "
        "(of cross-attention), text-mlp (hidden units of the text encoder), conv. auto: ffn; unconditional: conv.",
    )
    steps: int | None = Field(
        None, ge=1, le=100_000, description="Sampling steps; by default 20, of unconditional models as many as in use."
    )
    guidance: float = Field(3.0, ge=0, description="Text-to-image: scale of classifier-free guidance.")
    shown: int = Field(16, ge=1, le=200, description="Units in the table: those that the trigger changes most.")
    batch_size: int = Field(16, ge=1, le=10_000, description="Samples at once.")
