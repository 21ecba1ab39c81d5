"""BaDExpert against its rule in NumPy and a planted pair of models, and conformance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bdm_core.context import Context
from bdm_defense_badexpert.expert import rule, suspicion, train_expert, wrong_labels
from bdm_defense_badexpert.params import BadExpertParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.fitting import accuracy, fit


def stripes() -> LabelledSamples:
    """Three classes, each with a bright row of its own."""
    stored = torch.randint(0, 60, (90, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels = torch.arange(90) % 3
    for row, label in enumerate(labels.tolist()):
        stored[row, 0, 1 + 2 * label] = 220
    return LabelledSamples(stored, labels, ["a", "b", "c"], "image-classification")


def test_rule_is_the_formula() -> None:
    x, y = np.random.default_rng(0).uniform(0.01, 0.99, (2, 200))
    expected = np.minimum(2 * y / x, np.where(y < 0.5, (1 - x) / np.where(y < 0.5, 0.5 - y, 1), np.inf))
    assert rule(torch.tensor(x), torch.tensor(y)).numpy() == pytest.approx(expected)


def test_suspicion_is_finite_and_ordered() -> None:
    x = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.5], dtype=torch.float64)
    y = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.5], dtype=torch.float64)
    found = suspicion(x, y)
    assert bool(found.isfinite().all()) and float(found[0]) == 1.0 == float(found.max())
    assert float(found[3]) == pytest.approx(0.0, abs=1e-9)


def test_the_expert_forgets(tmp_path) -> None:
    samples = stripes()
    classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=samples.classes, width=4), seed=0)
    ctx = Context(out=tmp_path, work=tmp_path, seed=0)
    params = BadExpertParams(epochs=8, batch_size=10, expert_epochs=10, expert_learning_rate=0.02)
    fit(ctx, classifier, samples, params, label="train")
    assert accuracy(classifier, samples) > 0.9
    train_expert(ctx, classifier, samples, params)
    assert accuracy(classifier, samples) < 0.2
    assert wrong_labels(samples).labels.tolist()[:3] == [1, 2, 0]


class TestBadExpert(ClassifierDefenseConformance):
    plugin = "badexpert"
