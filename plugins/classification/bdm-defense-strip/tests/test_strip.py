"""STRIP against entropies in closed form, a planted trigger, and conformance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from bdm_defense_strip.entropy import entropies, mean_entropies
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.asking import Oracle
from bdm_kit_classification.testing import ClassifierDefenseConformance


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
    found = mean_entropies(oracle, samples, clean, 0.5)
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
    scores = [-mean_entropies(Planted(), some, pictures(8, 5), 0.5) for some in (clean, triggered)]
    assert float(scores[1].min()) > float(scores[0].max())


class TestStrip(ClassifierDefenseConformance):
    plugin = "strip"


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
