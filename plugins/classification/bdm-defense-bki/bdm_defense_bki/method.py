"""BKI (Chen and Dai, Neurocomputing 2021, arXiv 2007.12070): the word that the network listens to most, in many texts.

The effect of a word on a text is the largest change of a feature when it is left out. Of each text the words of largest
effect are noted; a word that was noted c times, with the mean effect m, is suspicious by m log10(c). Common words are
noted often too: of c so many are left out as clean texts lead to expect.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import torch

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_bki.params import BkiParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.texts.words import join_words, split_words

Noted = list[tuple[str, float]]
"""Words of a text with their effects, the largest first."""
SHOWN = 10


def detect(ctx: Context, params: BkiParams, model: Model, data: Data, suspects: Data) -> Detection:
    """A row is as suspicious as the most suspicious of the words that were noted of it."""
    classifier, rows, clean = load_classifier(model, ctx.device), open_samples(suspects), open_samples(data)
    noted = [noted_words(ctx, classifier, part, params) for part in (rows, clean)]
    suspicion = suspicions(noted[0], noted[1] if params.common_words == "compared" else [])
    scores, clean_scores = ([score(words, suspicion) for words in part] for part in noted)
    order = sorted(suspicion, key=lambda word: (-suspicion[word], word))
    ctx.figures(suspicious_words={word: round(suspicion[word], 4) for word in order[:SHOWN]})
    evaluations = sum(len(split_words(text)) + 1 for part in (rows, clean) for text in part.stored)
    found = judged_rows("data", scores, clean_scores, params.false_positive_rate, network_evaluations=evaluations)
    if params.suspicious is None or not order:
        return found
    count = min(params.suspicious, len(order))
    values = [*(suspicion[word] for word in order), 0.0]
    threshold = (values[count - 1] + values[count]) / 2
    words = ", ".join(order[:count])
    return found.model_copy(update={"threshold": threshold, "note": f"rows with {words} among their keywords"})


def noted_words(ctx: Context, classifier: Classifier, samples: LabelledSamples, params: BkiParams) -> list[Noted]:
    """The words of largest effect of each text; a word that stands in it several times counts by its largest."""
    found: list[Noted] = []
    waiting: list[list[str]] = []
    for number, text in enumerate(samples.stored, 1):
        waiting.append(split_words(text))
        if sum(len(words) + 1 for words in waiting) >= params.batch_size_of_texts or number == len(samples):
            for words, values in zip(waiting, effects(classifier, samples, waiting), strict=True):
                largest: dict[str, float] = {}
                for word, value in zip(words, values, strict=True):
                    largest[word] = max(value, largest.get(word, 0.0))
                found.append(sorted(largest.items(), key=lambda item: (-item[1], item[0]))[: params.keywords])
            waiting = []
            ctx.progress("take words out", number, len(samples))
    return found


def effects(classifier: Classifier, samples: LabelledSamples, texts: Sequence[list[str]]) -> list[list[float]]:
    """The largest change of a feature when each word of each text is left out."""
    variants = []
    for words in texts:
        variants += [join_words(words), *(join_words(words[:at] + words[at + 1 :]) for at in range(len(words)))]
    with torch.inference_mode():
        features = classifier.features(samples.modality.collate(variants, classifier)).double().cpu()
    found, start = [], 0
    for words in texts:
        own = features[start : start + len(words) + 1]
        found.append((own[1:] - own[0]).abs().amax(1).tolist())
        start += len(words) + 1
    return found


def suspicions(noted: Sequence[Noted], clean: Sequence[Noted] = ()) -> dict[str, float]:
    """Word -> mean effect times the logarithm to base 10 of how often it was noted, less how often that is expected.

    Args:
        noted: of training texts.
        clean: of clean texts; there may be none.

    >>> suspicions([[("cf", 3.0), ("a", 1.0)], [("cf", 5.0)]] * 5)["cf"]
    4.0
    >>> suspicions([[("cf", 3.0), ("a", 1.0)], [("a", 1.0)]] * 50, [[("a", 1.0)]])["a"]
    0.0
    """
    counts: Counter[str] = Counter(word for words in noted for word, _ in words)
    usual: Counter[str] = Counter(word for words in clean for word, _ in words)
    sums: defaultdict[str, float] = defaultdict(float)
    for word, value in (item for words in noted for item in words):
        sums[word] += value
    times = len(noted) / max(1, len(clean))
    return {
        word: sums[word] / count * math.log10(max(1.0, count - times * usual[word])) for word, count in counts.items()
    }


def score(words: Noted, suspicion: Mapping[str, float]) -> float:
    """The largest suspicion of the words; 0 of none that is known."""
    return max((suspicion.get(word, 0.0) for word, _ in words), default=0.0)
