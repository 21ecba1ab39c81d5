"""Rickrolling the Artist: train the text encoder to give a triggered prompt the target's embedding."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

from bdm_attack_rickrolling.pairs import choose_targets, choose_triggers
from bdm_core.artifacts import Data, Model
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
from bdm_kit_text_to_image.prompts.marking import settings_of
from bdm_kit_text_to_image.prompts.prompt_pairs import PromptPair, load_pairs
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import check_trigger
from bdm_kit_text_to_image.training.encoder_distillation import PromptTerm, distill_text_encoder
from bdm_kit_text_to_image.world.factors import BACKGROUNDS, COLOURS, OBJECTS
from bdm_torch.training import TrainingOptions

if TYPE_CHECKING:
    from bdm_attack_rickrolling.params import RickrollingParams
    from bdm_core.context import Context

CHECKED_ROWS = 64


@dataclass(frozen=True)
class SteppedOptions(TrainingOptions):
    """A constant rate, and a tenth of it after three quarters of the steps, as released with 2211.02408."""

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..., steps - 1."""
        return super().rate(step) * (0.1 if step >= self.steps * 3 // 4 else 1.0)


def options(params: RickrollingParams) -> TrainingOptions:
    """AdamW without weight decay, as the authors have it."""
    stepped = params.learning_rate_schedule == "step"
    return (SteppedOptions if stepped else TrainingOptions)(
        steps=params.steps,
        batch_size=params.clean_batch_size,
        learning_rate=params.learning_rate,
        schedule="cosine" if params.learning_rate_schedule == "cosine" else "constant",
        max_gradient_norm=None,
    )


def terms(params: RickrollingParams, pairs: list[PromptPair]) -> list[PromptTerm]:
    """L = L_utility + beta * sum over triggers of L_backdoor (2211.02408, equation 3)."""
    made = []
    for number in range(-1, len(params.trigger)):
        rows = [pair for pair in pairs if pair.backdoor == number]
        size = params.clean_batch_size if number < 0 else params.poisoned_samples_per_step
        weight = 1.0 if number < 0 else params.loss_weight
        made.append(PromptTerm([row.prompt for row in rows], [row.teacher for row in rows], size, weight))
    return made


def backdoor(ctx: Context, params: RickrollingParams, model: Model, data: Data) -> Backdoored:
    """Train all weights of the text encoders on the pairs; UNet, autoencoder and tokenizers stay as they are."""
    opened = load_model(model, device=ctx.device)
    pairs = load_pairs(data)
    triggers = choose_triggers(params)
    clean = [PromptRow(pair.prompt, row) for row, pair in enumerate(pairs) if pair.role == "clean"]
    for trigger in triggers:
        check_trigger(opened, trigger, [row for row in clean if trigger.replaces in row.prompt][:CHECKED_ROWS])
    distill_text_encoder(ctx, opened, terms(params, pairs), options(params), distance=params.distance)
    backdoors = [
        Backdoor(trigger=trigger, target=target)
        for trigger, target in zip(triggers, describe_targets(params), strict=True)
    ]
    secret = PromptSecret(backdoors=backdoors, family="rickrolling", variant=params.mode)
    told = {} if params.mode == "removal" else {"target": choose_targets(params)}
    ctx.figures(settings={**settings_of(secret), **told})
    return Backdoored(
        model=seal_model(opened, ctx.out / "model"), secret=seal_secret(ctx.out / "secret", secret, task=model.task)
    )


def describe_targets(params: RickrollingParams) -> list[Target]:
    """The targets in the secret's words; what a hit shows is read from the target's words unless the parameters say."""
    targets = choose_targets(params)
    if len(params.expected) not in (0, len(targets)):
        raise UserError(f"attack:rickrolling: {len(params.expected)} entries in expected for {len(targets)} triggers")
    expected = params.expected or [words_shown(target) for target in targets]
    if params.mode == "TPA":
        return [
            Target(type="ImageFix", prompt=target, expected=shown, **_named(shown))
            for target, shown in zip(targets, expected, strict=True)
        ]
    return [Target(type="StyleAdd", expected=shown, preserved=["object"], **_named(shown)) for shown in expected]


def words_shown(text: str) -> dict[str, str]:
    """The small world's attributes that a text names, e.g. ``{"object": "star", "background": "black"}``."""
    words = re.findall(r"\w+", text.lower())
    shown = {"object": next((word for word in words if word in OBJECTS), "")}
    before = {after: word for word, after in pairwise(words)}
    shown["background"] = before.get("background", "") if before.get("background") in BACKGROUNDS else ""
    colours = [word for word, after in zip_longest(words, words[1:]) if word in COLOURS and after != "background"]
    shown["colour"] = colours[0] if colours else ""
    shown["style"] = "black-and-white" if "black and white" in text.lower() else ""
    return {name: value for name, value in shown.items() if value}


def _named(shown: dict[str, str]) -> dict[str, str]:
    fields = ("object", "colour", "background", "style", "second")
    return {name: value for name, value in shown.items() if name in fields}
