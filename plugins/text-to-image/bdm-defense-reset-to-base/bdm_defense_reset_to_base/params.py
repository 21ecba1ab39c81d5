"""Parameters of ``defense:reset-to-base``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field, Params

Part = Literal["projections", "text-encoder", "unet", "added-tokens"]


class ResetToBaseParams(Params):
    """Parameters of ``defense:reset-to-base``."""

    reference: str = Field("small-world", description="The public base: small-world, or a folder.")
    parts: list[Part] = Field(
        ["projections"],
        min_length=1,
        description="What is moved: projections, keys and values of cross-attention; text-encoder; unet, all of it; "
        "added-tokens, which are given the meaning of the padding token.",
    )
    strength: float = Field(1.0, gt=0, le=1, description="How far: 1 is the base's own weights.")
