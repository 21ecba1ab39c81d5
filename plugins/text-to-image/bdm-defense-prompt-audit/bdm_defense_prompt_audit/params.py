"""Parameters of ``defense:prompt-audit``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_text_to_image.detection.params import PromptDetectorParams


class PromptAuditParams(PromptDetectorParams):
    """Parameters of ``defense:prompt-audit``."""

    reference: str = Field(
        "",
        description="The public base of the model, which is trusted: small-world, or a folder. Without one the signals "
        "of masked words and of the change are left out: they have nothing to be measured against.",
    )
    change_steps: int = Field(
        10,
        ge=0,
        le=1000,
        description="Sampling steps of a picture that is held against the base's of the same noise; 0 for no picture.",
    )
    change_noises: int = Field(3, ge=1, le=100, description="Noises to make pictures of; the least change counts.")
    characters: int = Field(
        12, ge=4, le=200, description="Other characters that are tried in the place of each odd one of a prompt."
    )
    phrases: int = Field(6, ge=1, le=100, description="Captions that are appended to a prompt, each to a copy of it.")
    spikes: int = Field(3, ge=1, le=100, description="Directions off the captions to which a prompt may answer.")
    steps: int = Field(20, ge=6, le=1000, description="Sampling steps, of which the first six are made.")
    guidance: float = Field(3.0, ge=0, description="Scale of classifier-free guidance.")
    mismatch_steps: int = Field(
        10,
        ge=0,
        le=1000,
        description="Sampling steps of the picture that is held against its caption, a column apart; 0 for no picture.",
    )
    contrastive: str = Field(
        "",
        description="Folder of a CLIP model for that; empty: the built-in one for pictures of 16x16, else no column.",
    )
