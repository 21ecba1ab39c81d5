"""Perturbed prompts (Chew, Lu, Lin, Lin, ECCV workshops 2024, arXiv 2408.15721): each prompt by itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Purified
from bdm_defense_text_perturbation.params import TextPerturbationParams
from bdm_defense_text_perturbation.translation import ByLanguageModel, Translate, language_of, translator
from bdm_kit_text_to_image.prompts.characters import delete_characters, mistype
from bdm_kit_text_to_image.prompts.normalising import normalised
from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts, seal_prompts
from bdm_kit_text_to_image.prompts.synonyms import read_synonyms, swap_words
from bdm_language_model.asking import LanguageModel

Change = Callable[[str, random.Random], str]


def perturb(ctx: Context, params: TextPerturbationParams, inputs: Data) -> Purified:
    """All prompts, changed; none is turned away. Sealed in ``ctx.out / "data"``.

    A prompt that would be left without a word stays as it is, and so does one that a language model does not translate;
    how many these are is kept with the stage.

    Raises:
        ArtifactError: the inputs are no prompts.
        UserError: there is no such table, program, model or endpoint, or it fails.
    """
    rows = load_prompts(inputs)
    given = [row.prompt for row in rows]
    prompts = list(given)
    with opened_translators(ctx, params) as translators:
        changes = [None if step == "translate" else change_of(step, params) for step in params.steps]
        for place, (step, change) in enumerate(zip(params.steps, changes, strict=True)):
            if change is None:
                made = prompts
                for translate in translators:
                    made = translate(made)
            else:  # each step draws words of its own
                draws = [random.Random(f"{ctx.seed} {place} {step} {text}") for text in given]
                made = [change(*pair) for pair in zip(prompts, draws, strict=True)]
            prompts = [new or old for new, old in zip(made, prompts, strict=True)]
            ctx.progress("perturb", place + 1, len(params.steps))
    changed = sum(new != old for new, old in zip(prompts, given, strict=True))
    ctx.figures(changed=changed / max(1, len(rows)))
    sealed = seal_prompts(ctx.out / "data", [replace(row, prompt=new) for row, new in zip(rows, prompts, strict=True)])
    return Purified(inputs=sealed, rejected=[False] * len(rows))


@contextmanager
def opened_translators(ctx: Context, params: TextPerturbationParams) -> Iterator[list[Translate]]:
    """The translators there and back, none if no step needs them; what a language model was asked is kept.

    Raises:
        UserError: one of them is not to be had.
    """
    if "translate" not in params.steps:
        yield []
    elif not any(map(language_of, params.translators)):
        yield [translator(text, params.timeout) for text in params.translators]
    else:
        with LanguageModel(params) as model:
            found = [translator(text, params.timeout, model) for text in params.translators]
            yield found
            left = sum(one.left for one in found if isinstance(one, ByLanguageModel))
            ctx.figures(model=model.usage(), not_translated=left)


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
    raise UserError(f"there is no step {step!r}")
