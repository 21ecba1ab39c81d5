"""Perturbed prompts (Chew, Lu, Lin, Chen, ECCV workshops 2024, arXiv 2408.15721): each prompt by itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Purified
from bdm_defense_text_perturbation.params import TextPerturbationParams
from bdm_defense_text_perturbation.translation import round_trip
from bdm_kit_text_to_image.prompts.characters import delete_characters, mistype
from bdm_kit_text_to_image.prompts.normalising import normalised
from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts, seal_prompts
from bdm_kit_text_to_image.prompts.synonyms import read_synonyms, swap_words

Change = Callable[[str, random.Random], str]


def perturb(ctx: Context, params: TextPerturbationParams, inputs: Data) -> Purified:
    """All prompts, changed; none is turned away. Sealed in ``ctx.out / "data"``.

    A prompt that would be left without a word stays as it is.

    Raises:
        ArtifactError: the inputs are no prompts.
        UserError: there is no such table, program, model or endpoint, or it fails.
    """
    rows = load_prompts(inputs)
    changes = [change_of(step, params) for step in params.steps]
    made, changed = [], 0
    for number, row in enumerate(rows, 1):
        prompt = row.prompt
        for place, (step, change) in enumerate(zip(params.steps, changes, strict=True)):
            draw = random.Random(f"{ctx.seed} {place} {step} {row.prompt}")  # each step draws words of its own
            prompt = change(prompt, draw) or prompt
        changed += prompt != row.prompt
        made.append(replace(row, prompt=prompt))
        ctx.progress("perturb", number, len(rows))
    ctx.figures(changed=changed / max(1, len(rows)))
    return Purified(inputs=seal_prompts(ctx.out / "data", made), rejected=[False] * len(rows))


def change_of(step: str, params: TextPerturbationParams) -> Change:
    """What a step does to a prompt. Raises UserError if it needs what is not there."""
    if step == "normalise":
        return lambda prompt, draw: normalised(prompt)
    if step == "delete":
        return lambda prompt, draw: delete_characters(prompt, params.share, draw)
    if step == "keyboard":
        return lambda prompt, draw: mistype(prompt, params.share, draw)
    if step == "synonyms":
        synonyms = read_synonyms(params.synonyms)
        return lambda prompt, draw: swap_words(prompt, params.share, draw, synonyms)
    if step == "translate":
        translate = round_trip(params.translators, params.key_variable, params.timeout)
        return lambda prompt, draw: translate(prompt)
    raise UserError(f"there is no step {step!r}")
