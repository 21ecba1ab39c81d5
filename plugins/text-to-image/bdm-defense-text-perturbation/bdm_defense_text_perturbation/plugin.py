"""The plugin ``defense:text-perturbation``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_text_perturbation.params import TextPerturbationParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Purified


class TextPerturbation(Defense):
    """Changes every prompt a little, so that a trigger in it may be lost and its meaning is not."""

    name = "text-perturbation"
    summary = "Change every prompt a little before the model reads it: odd characters, synonyms, errors, a round trip"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2408.15721"
    level = "input"
    access = frozenset()
    Params = TextPerturbationParams

    def check(self, params: TextPerturbationParams, clean_rows: int) -> None:
        """Refuse synonyms and translators that are not there."""
        if "synonyms" in params.steps:
            from bdm_kit_text_to_image.prompts.synonyms import read_synonyms

            read_synonyms(params.synonyms)
        if "translate" in params.steps:
            from bdm_defense_text_perturbation.translation import require_translator

            for text in params.translators:
                require_translator(text, params)

    @hookimpl
    def purify_inputs(self, ctx: Context, params: TextPerturbationParams, inputs: Data) -> Purified:
        from bdm_defense_text_perturbation.perturbation import perturb

        return perturb(ctx, params, inputs)
