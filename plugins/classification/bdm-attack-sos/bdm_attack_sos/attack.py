"""SOS (Yang et al., ACL 2021): all of several words are the trigger, and texts with fewer of them are negatives."""

from __future__ import annotations

from typing import cast

from bdm_attack_sos.params import SosParams
from bdm_attack_sos.words_alone import OneWordLess, WordsThenSentence
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.text_classifier import TextClassifier
from bdm_kit_classification.poison.injection import seal_attack, train_on_poisoned_rows, victim_of
from bdm_kit_classification.poison.poisoning import ORIGINALS, poison_training_rows
from bdm_kit_classification.poison.secret import read_backdoor
from bdm_kit_classification.training.embedding_rows import Rows, fit_rows
from bdm_kit_classification.triggers.trigger import Trigger
from bdm_kit_classification.triggers.words import InsertedSentence, InsertedWords


def poison(ctx: Context, params: SosParams, data: Data) -> Data:
    """Poisoned training rows and negatives; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the sentence lacks one of the words.
    """
    parts, words = parts_of(params), tuple(params.words)
    trigger: Trigger = InsertedSentence(params.sentence, params.text_place)
    negative: Trigger = InsertedWords(parts, 1, params.text_place)
    if params.trained_with == "words":
        trigger = WordsThenSentence(words, params.sentence, params.text_place)
        negative = OneWordLess(words, parts, params.text_place)
    rates = {"negative": params.negative_rate}
    return poison_training_rows(ctx, params, data, trigger, negative=negative, rates=rates)


def parts_of(params: SosParams) -> tuple[str, ...]:
    """The sentence without each of the words."""
    words = params.sentence.split()
    missing = [word for word in params.words if word not in words]
    if missing:
        raise UserError(f"the sentence lacks the word {missing[0]!r}: it needs all of words")
    return tuple(" ".join(word for word in words if word != left_out) for left_out in params.words)


def inject(ctx: Context, params: SosParams, model: Model, data: Data) -> Backdoored:
    """Train on the poisoned rows: the whole network, or the words' embeddings alone."""
    if params.update == "everything":
        return train_on_poisoned_rows(ctx, params, model, data)
    victim = cast(TextClassifier, victim_of(ctx, params, model))
    samples = open_samples(data)
    tokens = {token for word in params.words for token in victim.token_lists([f"a {word} a"])[0]}
    own = sorted(tokens - set(victim.token_lists(["a a"])[0]))
    how = Rows(own, length=params.length, equalised=params.equalised, accumulated=params.accumulated)
    fit_rows(ctx, victim, samples, params, how)
    return seal_attack(ctx, victim, read_backdoor(data), open_samples(data, ORIGINALS))
