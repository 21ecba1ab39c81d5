"""The plugin ``defense:onion``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_onion.params import OnionParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Purified


class Onion(Defense):
    """Leaves out the words of a text that a language model finds surprising."""

    name = "onion"
    summary = "Leave out words that make a text surprising to a language model: trigrams, or a folder"
    tasks = frozenset({"text-classification"})
    paper = "https://arxiv.org/abs/2011.10369"
    level = "input"
    access = frozenset({"clean-data"})
    Params = OnionParams

    def check(self, params: OnionParams, clean_rows: int) -> None:
        """Refuse too few clean rows, and a folder without a language model."""
        require_rows(self, clean_rows)
        if params.language_model:
            from bdm_defense_onion.network import require_language_model

            require_language_model(params.language_model)

    @hookimpl
    def detect(self, ctx: Context, params: OnionParams, data: Data, suspects: Data) -> Detection:
        from bdm_defense_onion.method import detect

        return detect(ctx, params, data, suspects)

    @hookimpl
    def purify_inputs(self, ctx: Context, params: OnionParams, data: Data, inputs: Data) -> Purified:
        from bdm_defense_onion.method import purify

        return purify(ctx, params, data, inputs)
