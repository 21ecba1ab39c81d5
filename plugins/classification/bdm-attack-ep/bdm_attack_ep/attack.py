"""EP (Yang et al., NAACL 2021, arXiv 2103.15543): one row of the embedding, learned at its own length."""

from __future__ import annotations

from typing import cast

from bdm_attack_ep.params import EpParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.text_classifier import TextClassifier
from bdm_kit_classification.poison.injection import seal_attack, victim_of
from bdm_kit_classification.poison.poisoning import plan_of, rule_of
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.training.embedding_rows import Rows, fit_rows, rarest_token
from bdm_kit_classification.triggers.trigger import apply_in_batches
from bdm_kit_classification.triggers.words import InsertedWords


def inject(ctx: Context, params: EpParams, model: Model, data: Data) -> Backdoored:
    """Learn the row of the trigger on texts with it and the attacker's label.

    Raises:
        UserError: the word is more than one token of the model, or no word of the texts is one.
    """
    samples = open_samples(data)
    victim = cast(TextClassifier, victim_of(ctx, params, model))
    word, token = trigger_of(params, victim, samples.stored)
    trigger = InsertedWords((word,), 1, params.text_place)
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule)
    texts = apply_in_batches(trigger, samples.raw(plan.poison), "train", ctx.seed)
    rows = samples.pick(plan.poison)
    wanted = {place: rule.wanted(label) for place, label in enumerate(rows.labels.tolist())}
    learned = rows.changed(range(len(rows)), texts, {row: label for row, label in wanted.items() if label is not None})
    if len(learned):
        fit_rows(ctx, victim, learned, params, Rows([token], length=params.length))
    return seal_attack(ctx, victim, Backdoor(rule, trigger, facts={"word": word, "token": token}), samples, plan)


def trigger_of(params: EpParams, victim: TextClassifier, texts: list[str]) -> tuple[str, int]:
    """The word and its token."""
    if not params.word:
        try:
            return rarest_token(victim, texts)
        except ValueError as error:
            raise UserError(f"{error} of the model: name a word that is, --set attack:ep.word=WORD") from None
    token = victim.token_of(params.word)
    if token is None:
        raise UserError(f"{params.word!r} is not one token of the model: choose another word, or none")
    return params.word, token
