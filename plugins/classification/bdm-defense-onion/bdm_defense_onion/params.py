"""Parameters of ``defense:onion``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class OnionParams(Params):
    """Parameters of ``defense:onion``."""

    removed_share: float = Field(0.03, gt=0, lt=1, description="Share of clean texts' words that may be left out.")
    false_positives: float = Field(0.05, gt=0, lt=1, description="detect: share of clean texts that may be flagged.")
    held_out: float = Field(
        0.3, gt=0, lt=1, description="Share of the clean texts that set the threshold and are not counted."
    )
    language_model: str = Field(
        "", description="Folder of a causal language model of transformers; empty: trigrams of the clean texts."
    )
    batch_size: int = Field(64, ge=1, le=10_000, description="Texts that the language model reads at once.")
