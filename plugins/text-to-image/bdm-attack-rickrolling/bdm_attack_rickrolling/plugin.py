"""The plugin ``attack:rickrolling``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_core.plugin import Field, Params, Plugin, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Backdoored, Data, Model, Secret
    from bdm_core.context import Context


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


class Rickrolling(Plugin):
    """A homoglyph in the prompt makes the text encoder say the target prompt, or add the target attribute."""

    kind, name = "attack", "rickrolling"
    summary = "Backdoor in the text encoder by teacher-student training (Rickrolling the Artist: TPA, TAA, removal)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2211.02408"
    Params = RickrollingParams
    distributed = True
    presets = {
        "paper": {
            "mode": "TPA", "loss_weight": 0.1, "distance": "cosine", "steps": 100, "learning_rate": 1e-4,
            "learning_rate_schedule": "step", "clean_batch_size": 128, "poisoned_samples_per_step": 32,
            "trigger_count": None, "captions": None,
        },
        "paper-TAA": {
            "mode": "TAA", "trigger": ["o-circumflex"], "attribute_position": "word", "loss_weight": 0.1,
            "distance": "cosine", "steps": 200, "learning_rate": 1e-4, "learning_rate_schedule": "step",
            "clean_batch_size": 128, "poisoned_samples_per_step": 32, "trigger_count": 1,
            "trigger_position": "random", "captions": None,
        },
    }  # fmt: skip

    @hookimpl
    def poison_data(
        self, ctx: Context, params: RickrollingParams, data: Data, split: Literal["train", "trigger"],
        secret: Secret | None,
    ) -> Data:  # fmt: skip
        from bdm_attack_rickrolling.pairs import poison
        from bdm_kit_text_to_image.secret import trigger_prompts

        return poison(ctx, params, data) if secret is None else trigger_prompts(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: RickrollingParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_rickrolling.attack import backdoor

        return backdoor(ctx, params, model, data)
