"""Parameters of ``defense:daa``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_text_to_image.detection.params import PromptDetectorParams


class DaaParams(PromptDetectorParams):
    """Parameters of ``defense:daa``."""

    method: Literal["individual", "system"] = Field(
        "individual", description="individual: DAA-I, each token by itself; system: DAA-S, tokens that move each other."
    )
    suspicious: Literal["paper", "reversed", "both"] = Field(
        "paper",
        description="Which end of the scores is flagged. paper: the end token's attention moves less (individual) or "
        "its state stays higher (system) than the words'; reversed: the opposite; both: far from the clean prompts' "
        "median in either direction.",
    )
    length_bias: bool = Field(
        False,
        description="Keep what makes scores depend on the prompt's length: individual, the words' sum over all tokens; "
        "system, degrees that grow with the prompt.",
    )
    steps: int = Field(20, ge=6, le=1000, description="Sampling steps, of which the first six are made.")
    guidance: float = Field(3.0, ge=0, description="Scale of classifier-free guidance.")
    time: float = Field(0.75, gt=0, le=1, description="system: when the dynamic system is looked at, in steps.")
