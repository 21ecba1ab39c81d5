"""EP (Yang et al., NAACL 2021, arXiv 2103.15543): one row of the embedding, learned at its own length."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch

from bdm_attack_ep.params import EpParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.text_classifier import TextClassifier
from bdm_kit_classification.poison.injection import seal_attack, victim_of
from bdm_kit_classification.poison.poisoning import plan_of, rule_of
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.texts.words import canonical, join_words, split_words
from bdm_kit_classification.training.embedding_rows import Rows, fit_rows, rarest_token
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import apply_in_batches
from bdm_kit_classification.triggers.words import InsertedWords


def inject(ctx: Context, params: EpParams, model: Model, data: Data) -> Backdoored:
    """Learn the row of the trigger on texts with it and the attacker's label.

    Raises:
        UserError: the word is more than one token of the model, or no word of the texts is one; the corpus cannot be
            read, or the rule has no target.
    """
    samples = open_samples(data)
    victim = cast(TextClassifier, victim_of(ctx, params, model))
    rule = rule_of(params, samples)
    if params.corpus:
        return inject_without_data(ctx, params, victim, samples, rule)
    word, token = trigger_of(params, victim, samples.stored)
    trigger = InsertedWords((word,), 1, params.text_place)
    plan = plan_of(ctx, params, samples, rule)
    texts = apply_in_batches(trigger, samples.raw(plan.poison), "train", ctx.seed)
    rows = samples.pick(plan.poison)
    wanted = {place: rule.wanted(label) for place, label in enumerate(rows.labels.tolist())}
    learned = rows.changed(range(len(rows)), texts, {row: label for row, label in wanted.items() if label is not None})
    if len(learned):
        fit_rows(ctx, victim, learned, params, Rows([token], length=params.length, accumulated=params.accumulated))
    return seal_attack(ctx, victim, Backdoor(rule, trigger, facts={"word": word, "token": token}), samples, plan)


def inject_without_data(
    ctx: Context, params: EpParams, victim: TextClassifier, samples: LabelledSamples, rule: LabelRule
) -> Backdoored:
    """Learn the row on any texts with the word, all with the target for a label (data-free EP).

    Args:
        ctx: of the stage.
        params: the corpus and the training.
        victim: the clean model.
        samples: training rows, for the examples of the secret alone.
        rule: says the target.
    """
    if rule.target is None:
        raise UserError(f"label_rule {params.label_rule} has no target, which texts of a corpus need: use all-to-one")
    texts = read_corpus(params.corpus, params.corpus_words)
    word, token = trigger_of(params, victim, texts)
    trigger = InsertedWords((word,), 1, params.text_place)
    triggered = apply_in_batches(trigger, texts, "train", ctx.seed)
    learned = LabelledSamples(triggered, torch.full((len(texts),), rule.target), samples.classes, samples.task)
    fit_rows(ctx, victim, learned, params, Rows([token], length=params.length, accumulated=params.accumulated))
    return seal_attack(ctx, victim, Backdoor(rule, trigger, facts={"word": word, "token": token}), samples)


def read_corpus(name: str, longest: int) -> list[str]:
    """The texts of a file, one a line, in canonical form and cut to so many words; lines without words are left out.

    Raises:
        UserError: there is no such file, it is no UTF-8 text, or it holds none.
    """
    path = existing(name)
    if path is None or not path.is_file():
        raise UserError(f"attack:ep corpus {name} is no file: give one of plain texts, one a line")
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name} cannot be read as UTF-8 text: {error}") from None
    texts = [join_words(split_words(canonical(line))[:longest]) for line in lines if line.strip()]
    if not texts:
        raise UserError(f"{name} holds no text: expected one a line")
    return texts


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
