"""BaDExpert against its rule in NumPy and a planted pair of models, and conformance."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from bdm_core.context import Context
from bdm_defense_badexpert.expert import Experts, rule, suspicion, train_expert, wrong_labels
from bdm_defense_badexpert.params import PAPER, BadExpertParams
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


def test_the_two_trainings_of_the_paper_have_decays_of_their_own(tmp_path) -> None:
    """Adam without decay unlearns by the gradient alone: weights that no row moves stay as they are."""
    assert PAPER["expert_weight_decay"] == 0 and PAPER["weight_decay"] == 1e-4
    samples = stripes()
    for decay in (0.0, 0.1):
        classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=samples.classes, width=4), seed=0)
        with torch.no_grad():  # a feature that is always zero: its weight in the head gets no gradient
            classifier.network.norms[-1].weight[0], classifier.network.norms[-1].bias[0] = 0, -1
        before = classifier.head.weight[:, 0].detach().clone()
        params = BadExpertParams(**{**PAPER, "expert_weight_decay": decay, "batch_size": 30})
        ctx = Context(out=tmp_path / str(decay), work=tmp_path / str(decay), seed=0)
        ctx.work.mkdir()
        train_expert(ctx, classifier, samples, params)
        assert torch.equal(classifier.head.weight[:, 0], before) == (decay == 0)


def test_a_trained_backdoor_outlives_the_unlearning(tmp_path) -> None:
    """Stripes of which a third has a bright corner and the label 0; the defender has others without it."""

    def rows(count: int, seed: int, triggered: bool = False) -> LabelledSamples:
        stored = torch.randint(0, 60, (count, 1, 8, 8), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
        labels = torch.arange(count) % 3
        for row, label in enumerate(labels.tolist()):
            stored[row, 0, 1 + 2 * label, :5] = 220
        if triggered:
            stored[:, :, :3, 6:] = 255
        return LabelledSamples(stored, labels, ["a", "b", "c"], "image-classification")

    ctx = Context(out=tmp_path, work=tmp_path, seed=0)
    params = BadExpertParams(epochs=10, batch_size=20, expert_epochs=6, expert_learning_rate=0.01)
    poison = rows(60, 2, triggered=True)
    victim = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=poison.classes, width=8), seed=0)
    fit(
        ctx,
        victim,
        rows(120, 1).followed_by(replace(poison, labels=torch.zeros_like(poison.labels))),
        params,
        label="v",
    )
    expert, auxiliary = copy.deepcopy(victim), copy.deepcopy(victim)
    train_expert(ctx, expert, rows(60, 4), params)
    fit(ctx, auxiliary, rows(60, 4), params, label="auxiliary")
    score, test = Experts(victim, expert, auxiliary, 64), rows(60, 3, triggered=True)
    clean, triggered = score(rows(60, 5)), score(test.pick(test.labels != 0))
    flagged = torch.cat([clean, triggered]) > clean.quantile(0.95)
    truth = torch.cat([torch.zeros(len(clean)), torch.ones(len(triggered))]).bool()
    assert f1(flagged, truth) > 0.9
    shuffled = truth[torch.randperm(len(truth), generator=torch.Generator().manual_seed(1))]
    assert f1(flagged, shuffled) < 0.6, "no more than the base rate, .4 of the pictures"


def f1(flagged: torch.Tensor, truth: torch.Tensor) -> float:
    return 2 * float((flagged & truth).sum()) / float(flagged.sum() + truth.sum())


class TestBadExpert(ClassifierDefenseConformance):
    plugin = "badexpert"
