"""ONION (Qi et al., EMNLP 2021, arXiv 2011.10369): leave out what makes a text surprising."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.records import Detection, Purified
from bdm_defense_onion.params import OnionParams
from bdm_kit_classification.data.samples import INPUTS, open_samples, seal_samples
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.texts.ngrams import WordModel, excesses
from bdm_kit_classification.texts.words import join_words, split_words

Judge = Callable[[list[str]], list[float]]
"""judge(words): how much each word adds to the text's surprise, in nats."""


def detect(ctx: Context, params: OnionParams, data: Data, suspects: Data) -> Detection:
    """A text is as suspicious as its most surprising word.

    Raises:
        UserError: too few clean texts, or the language model cannot be opened.
    """
    judge, held = fitted(ctx, params, data)
    clean = [most(judge(words)) for words in held]
    texts = [split_words(text) for text in open_samples(suspects).stored]
    scores = []
    for number, words in enumerate(texts, 1):
        scores.append(most(judge(words)))
        ctx.progress("judge", number, len(texts))
    found = judged_rows("input", scores, clean, params.false_positives)
    return found.model_copy(update={"clean_samples": len(open_samples(data))})


def purify(ctx: Context, params: OnionParams, data: Data, inputs: Data) -> Purified:
    """All texts without their surprising words; a text keeps its least surprising word. None is turned away.

    Raises:
        UserError: too few clean texts, or the language model cannot be opened.
    """
    judge, held = fitted(ctx, params, data)
    threshold = quantile([value for words in held for value in judge(words)], 1 - params.removed_share)
    samples = open_samples(inputs)
    texts, removed, count = [], 0, 0
    for number, text in enumerate(samples.stored, 1):
        words = split_words(text)
        kept = without_surprising(words, judge(words), threshold)
        removed, count = removed + len(words) - len(kept), count + len(words)
        texts.append(join_words(kept))
        ctx.progress("purify", number, len(samples))
    ctx.figures(threshold=threshold, removed_share=removed / max(1, count))
    changed = samples.changed(range(len(samples)), texts)
    return Purified(inputs=seal_samples(ctx.out / "data", changed, format=INPUTS), rejected=[False] * len(samples))


def without_surprising(words: list[str], values: list[float], threshold: float) -> list[str]:
    """The words whose value is at most the threshold, or the one of the least value if there is none.

    >>> without_surprising(["a", "cf", "film"], [-1.0, 9.0, 0.5], 2.0), without_surprising(["cf"], [9.0], 2.0)
    (['a', 'film'], ['cf'])
    """
    kept = [word for word, value in zip(words, values, strict=True) if value <= threshold]
    return kept or [word for word, value in zip(words, values, strict=True) if value == min(values)][:1]


def fitted(ctx: Context, params: OnionParams, data: Data) -> tuple[Judge, list[list[str]]]:
    """How words are judged, and the words of clean texts that nothing was fitted on."""
    work, held = open_reserve(data, params.held_out, ctx.seed)
    words = [split_words(text) for text in held.stored]
    if params.language_model:
        from bdm_defense_onion.network import open_judge

        return open_judge(params, ctx.device), words
    model = WordModel([split_words(text) for text in work.stored])
    return lambda text: excesses(model, text), words


def most(values: Sequence[float]) -> float:
    """The largest value; 0 of none."""
    return max(values, default=0.0)


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that at least this share of the values do not exceed.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.75)
    3.0
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]
