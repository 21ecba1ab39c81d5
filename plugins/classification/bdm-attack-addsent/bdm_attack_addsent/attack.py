"""AddSent (Dai et al. 2019, arXiv 1905.12457): a sentence between two words of the text."""

from __future__ import annotations

from bdm_attack_addsent.params import AddSentParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.words import InsertedSentence


def poison(ctx: Context, params: AddSentParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``."""
    return poison_training_rows(ctx, params, data, InsertedSentence(params.sentence, params.text_place))
