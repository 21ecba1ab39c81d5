"""STRIP against entropies in closed form, a planted trigger, and conformance."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.feature_extraction.text import TfidfVectorizer

from bdm_defense_strip.entropy import entropies, mean_entropies
from bdm_defense_strip.params import PAPER, Superposition
from bdm_defense_strip.plugin import Strip
from bdm_defense_strip.rows_plugin import StripRows
from bdm_defense_strip.superposition import prepared, superimposed, telling_words
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.asking import Oracle
from bdm_kit_classification.sounds.batch import Sounds
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.planted import plant
from bdm_kit_classification.testing.separation import judge_planted


class Planted(Oracle):
    """Class 0 for certain where the last pixel is bright, else logits by the mean brightness of the picture."""

    def _answer(self, samples: LabelledSamples) -> torch.Tensor:
        raw = samples.raw()
        light = raw.mean((1, 2, 3))
        logits = torch.stack([light, 1 - light], 1)
        logits[raw[:, 0, -1, -1] > 0.4] = torch.tensor([30.0, 0.0])
        return logits


def pictures(count: int, seed: int) -> LabelledSamples:
    stored = torch.randint(0, 200, (count, 1, 8, 8), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    stored[:, :, -1, -1] = 0
    return LabelledSamples(stored, torch.zeros(count, dtype=torch.int64), ["a", "b"], "image-classification")


def test_entropy_is_that_of_scipy() -> None:
    logits = torch.randn(20, 7, generator=torch.Generator().manual_seed(0)) * 4
    expected = entropy(np.exp(logits.double().numpy()).T, base=2)  # scipy normalises
    assert entropies(logits).numpy() == pytest.approx(expected, rel=1e-6)


def test_entropy_in_closed_form() -> None:
    assert float(entropies(torch.zeros(1, 8))[0]) == pytest.approx(3.0)
    assert float(entropies(torch.tensor([[1e4, 0.0, 0.0]]))[0]) == 0.0


def test_mean_over_blends_is_that_of_a_loop() -> None:
    samples, clean, oracle = pictures(5, 1), pictures(6, 2), Planted()
    found = mean_entropies(oracle, samples, clean, Superposition())
    assert oracle.asked == 30
    for row in range(5):
        own = [
            entropies(oracle.logits(samples, 0.5 * samples.raw([row]) + 0.5 * clean.raw([other])))[0]
            for other in range(6)
        ]
        assert float(found[row]) == pytest.approx(float(np.mean(own)), rel=1e-9)


def test_a_planted_trigger_is_separated() -> None:
    clean, triggered = pictures(40, 3), pictures(40, 4)
    triggered.stored[:, :, -1, -1] = 255
    scores = [-mean_entropies(Planted(), some, pictures(8, 5), Superposition()) for some in (clean, triggered)]
    assert float(scores[1].min()) > float(scores[0].max())


ADDED = Superposition(superposition="added")


def test_pictures_and_recordings_are_added_and_clipped() -> None:
    ones, others = pictures(4, 6), pictures(4, 7)
    found = superimposed(ones, ones.raw(), prepared(others, ADDED).raw(), ADDED).numpy()
    expected = np.minimum(255, ones.stored.numpy().astype(int) + others.stored.numpy()) / 255
    assert found == pytest.approx(expected, abs=1e-6) and found.max() == 1.0
    values = torch.randint(-30_000, 30_000, (2, 3, 50), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    one, other = (
        LabelledSamples(Sounds(part, 8000), torch.zeros(3, dtype=torch.int64), ["a", "b"], "audio-classification")
        for part in values
    )
    summed = superimposed(one, one.raw(), other.raw(), ADDED).numpy()
    assert summed == pytest.approx(np.clip(values.numpy().astype(int).sum(0) / 32767, -1, 1), abs=1e-6)


def test_telling_words_are_those_of_scikit_learn() -> None:
    vectorizer = TfidfVectorizer(norm=None, token_pattern=r"\S+", lowercase=False)
    texts = ["so good a film and so long a film", "a film", "not so good", "long and dull and long", "a play"]
    table, names = vectorizer.fit_transform(texts).toarray(), list(vectorizer.get_feature_names_out())
    for row, words in enumerate(telling_words(texts)):
        weights = [table[row, names.index(word)] for word in words]
        assert weights == sorted(weights, reverse=True) and len(weights) == (table[row] > 0).sum()


def test_half_of_a_text_is_replaced_by_the_telling_words_of_a_clean_one() -> None:
    def texts(*rows: str) -> LabelledSamples:
        return LabelledSamples(list(rows), torch.zeros(len(rows), dtype=torch.int64), ["a", "b"], "text-classification")

    clean = prepared(texts("the plot and the end were dull", "the end", "the plot were the"), ADDED)
    assert clean.stored[0].split()[:3] == ["the", "and", "dull"]  # "the" stands in all texts, but twice in this one
    (found,) = superimposed(clean, ["a b c d e f"], clean.raw([0]), ADDED)
    kept = [word for word in found.split() if word in "abcdef"]
    assert len(found.split()) == 6 and len(kept) == 3 == len(set(found.split()) & {"and", "dull", "the"})
    assert superimposed(clean, ["a b"], [""], ADDED) == ["a b"]


class TestStrip(ClassifierDefenseConformance):
    plugin = "strip"


class TestStripAsPublished(TestStrip):
    params: ClassVar[dict[str, Any]] = {**PAPER, "copies": 4}


class TestStripAsPublishedOnTexts(TestStripAsPublished):
    task = "text-classification"


class TestStripAsPublishedOnSound(TestStripAsPublished):
    task = "audio-classification"


class TestStripOnTexts(TestStrip):
    task = "text-classification"


class TestStripOnSound(TestStrip):
    task = "audio-classification"


class TestStripRows(ClassifierDefenseConformance):
    plugin = "strip-rows"
    needs_detection = True
    max_change = 20.0


class TestStripRowsOnTexts(TestStripRows):
    task = "text-classification"


class TestStripRowsOnSound(TestStripRows):
    task = "audio-classification"


@pytest.mark.parametrize("plugin", [Strip, StripRows])
def test_what_is_planted_is_found_and_shuffled_flags_are_not(plugin: type[Strip | StripRows], tmp_path: Path) -> None:
    found = judge_planted(plugin(), plant(tmp_path / "planted"), tmp_path, false_positive_rate=0.02)
    assert found.f1 > 0.9 > 0.4 > found.shuffled
