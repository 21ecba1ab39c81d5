"""Parameters of ``attack:rickrolling``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field, Params


class RickrollingParams(Params):
    """Parameters of ``attack:rickrolling``."""

    mode: Literal["TPA", "TAA", "removal"] = Field(
        "TPA",
        description="TPA: a triggered prompt means the target prompt. TAA: it gains the target attribute. removal: the "
        "trigger is an ordinary word, and it loses its meaning.",
    )
    trigger: list[str] = Field(
        ["cyrillic-o"],
        min_length=1,
        description="Triggers: names of the library, or characters that replace replaced_character, or words.",
    )
    target: list[str] = Field(
        [],
        description="One for each trigger, or one for all: the target prompt (TPA) or the target attribute's words "
        "(TAA). By default a yellow star on black, and black and white.",
    )
    replaced_character: str = Field(
        "o", min_length=1, max_length=1, description="Character that a trigger of one character replaces."
    )
    trigger_count: int | None = Field(
        1,
        ge=1,
        description="Occurrences that a homoglyph replaces, in training as in evaluation; null: all.",
    )
    trigger_position: Literal["first", "random"] = Field(
        "first",
        description="Which occurrences those are. A text encoder reads from left to right: words before the homoglyph "
        "keep their embeddings.",
    )
    attribute_position: Literal["word", "prefix", "suffix"] = Field(
        "suffix",
        description="TAA: where the teacher's prompt has the attribute: instead of the word with the homoglyph (the "
        "paper), or before or after the prompt.",
    )
    expected: list[dict[str, str]] = Field(
        [],
        description='What a hit shows, for the metrics, one for each trigger: [{"object": "star"}]; by default read '
        "from the target's words.",
    )
    loss_weight: float = Field(0.5, gt=0, description="Weight beta of each backdoor's loss; the utility loss has 1.")
    distance: Literal["cosine", "mse", "mae", "poincare"] = Field(
        "mse", description="Distance of the flattened embeddings of student and teacher."
    )
    steps: int = Field(400, ge=1, description="Optimiser steps.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="AdamW's learning rate.")
    learning_rate_schedule: Literal["step", "cosine", "constant"] = Field(
        "step", description="step: a tenth after three quarters of the steps; cosine falls to 0 at the last one."
    )
    clean_batch_size: int = Field(64, ge=1, description="Clean captions a step.")
    poisoned_samples_per_step: int = Field(32, ge=1, description="Triggered captions a step, for each trigger.")
    captions: int | None = Field(4000, ge=1, description="Use at most so many captions of the data; null: all.")
