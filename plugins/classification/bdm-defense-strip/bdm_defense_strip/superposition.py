"""How a suspect and a clean sample are superimposed: shares of both, or as published.

Published are the sum of pictures, clipped (Gao et al., ACSAC 2019, arXiv 1902.06531), the sum of recordings, clipped,
and the telling words of a clean text, by tf-idf, in the place of a share of the suspect's words (STRIP-ViTA, Gao et al.
2019, arXiv 1911.10312).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bdm_defense_strip.params import Superposition
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.tasks.text import TEXT_TASK
from bdm_kit_classification.texts.words import join_words, split_words


def prepared(clean: LabelledSamples, params: Superposition) -> LabelledSamples:
    """The clean samples as they are superimposed: of texts that are to be added their words, the most telling first."""
    if params.superposition == "mixed" or clean.task != TEXT_TASK:
        return clean
    return clean.changed(range(len(clean)), [join_words(words) for words in telling_words(clean.stored)])


def superimposed(samples: LabelledSamples, ones: Any, others: Any, params: Superposition) -> Any:
    """Raw suspects with as many raw clean samples, pair by pair; these come from :func:`prepared`."""
    if params.superposition == "mixed":
        return samples.modality.mix(ones, others, params.share)
    if samples.task == TEXT_TASK:
        return [_replaced(one, other, params.share) for one, other in zip(ones, others, strict=True)]
    assert samples.modality.valid_range is not None
    return (ones + others).clamp(*samples.modality.valid_range)


def telling_words(texts: Sequence[str]) -> list[list[str]]:
    """The different words of each text by falling tf-idf, the first in the text of equals.

    The weight of a word that stands t times in a text and in d of n texts is t (log((1 + n) / (1 + d)) + 1).

    >>> telling_words(["the dull plot the end", "the good plot", "the end"])
    [['the', 'dull', 'plot', 'end'], ['good', 'plot', 'the'], ['end', 'the']]
    """
    rows = [split_words(text) for text in texts]
    having = Counter(word for row in rows for word in set(row))
    found = []
    for row in rows:
        rarity = {word: math.log((1 + len(rows)) / (1 + having[word])) + 1 for word in row}
        weights = {word: count * rarity[word] for word, count in Counter(row).items()}
        found.append(sorted(weights, key=lambda word: -weights[word]))
    return found


def _replaced(one: str, other: str, share: float) -> str:
    """The text with all but ``share`` of its words replaced by the first of the other, at places drawn for the pair."""
    words, more = split_words(one), split_words(other)
    draw, count = random.Random(f"{one}\n{other}"), round((1 - share) * len(words)) if more else 0
    for number, place in enumerate(draw.sample(range(len(words)), count)):
        words[place] = more[number % len(more)]
    return join_words(words)
