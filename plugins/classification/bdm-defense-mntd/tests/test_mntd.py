"""MNTD: jumbo triggers, queries whose gradient is that of finite differences, a planted difference, conformance."""

from __future__ import annotations

import random

import pytest
import torch

from bdm_core.errors import UserError
from bdm_defense_mntd.jumbo import RandomTrigger, draw_sound, draw_trigger, draw_words, poisoned
from bdm_defense_mntd.meta import MetaClassifier, learn, new_meta, query_shape, read_meta, write_meta
from bdm_defense_mntd.params import MntdParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import ClassifierDefenseConformance

NAMES = ["a", "b", "c"]


def network(seed: int, backdoored: bool = False):
    """The backdoor: class 2 gets more than it would."""
    classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=NAMES, width=4), seed).eval()
    with torch.no_grad():
        classifier.head.bias[2] += 2.0 if backdoored else 0.0
    return classifier.requires_grad_(False)


def test_triggers_are_as_the_paper_draws_them() -> None:
    chance = random.Random(0)
    drawn = [draw_trigger((3, 28, 28), 10, chance) for _ in range(300)]
    whole = [trigger for trigger in drawn if bool((trigger.mask == 1).all())]
    squares = [trigger for trigger in drawn if not bool((trigger.mask == 1).all())]
    assert 0.1 < len(whole) / 300 < 0.3
    assert all(0.05 <= trigger.opacity <= 0.2 for trigger in whole)
    assert all(trigger.opacity == 1.0 or 0.2 <= trigger.opacity <= 0.5 for trigger in squares)
    assert {int(trigger.mask.sum()) for trigger in squares} == {4, 9, 16, 25}
    assert {trigger.target for trigger in drawn} == set(range(10))
    assert all(0.05 <= trigger.share <= 0.5 for trigger in drawn)


def test_poisoned_rows_are_those_of_the_formula() -> None:
    stored = torch.full((10, 1, 2, 2), 100, dtype=torch.uint8)
    rows = LabelledSamples(stored, torch.zeros(10, dtype=torch.int64), NAMES, "image-classification")
    mask = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    found = poisoned(rows, RandomTrigger(mask, torch.ones(1, 2, 2), 0.5, 2, 0.3), random.Random(0))
    assert found.labels.tolist() == [0] * 10 + [2] * 3
    assert found.stored[:10].unique().tolist() == [100]
    assert found.stored[10].flatten().tolist() == [round(0.5 * 100 + 0.5 * 255), 100, 100, 100]


def test_gradient_of_the_queries_is_that_of_finite_differences() -> None:
    classifier = network(0).double()
    meta = new_meta((1, 8, 8), 3, MntdParams(queries=2, hidden=4), seed=1).double()
    meta(classifier).backward()
    slope, step = meta.queries.grad.flatten(), 1e-5
    for place in (0, 37, 90):
        with torch.no_grad():
            meta.queries.view(-1)[place] += step
            above = float(meta(classifier))
            meta.queries.view(-1)[place] -= 2 * step
            below = float(meta(classifier))
            meta.queries.view(-1)[place] += step
        assert float(slope[place]) == pytest.approx((above - below) / (2 * step), rel=1e-3, abs=1e-7)


def test_planted_backdoors_are_told_apart() -> None:
    shadows = [(network(seed, bool(seed % 2)), bool(seed % 2)) for seed in range(16)]
    params = MntdParams(queries=4, meta_steps=120, meta_batch=8, meta_learning_rate=0.02)
    meta = new_meta((1, 8, 8), 3, params, seed=0)
    losses = learn(meta, shadows, params, 0, lambda *told: None)
    assert losses[-1] < 0.2 < losses[0]
    assert float(meta.queries.detach().min()) >= 0 and float(meta.queries.detach().max()) <= 1
    with torch.no_grad():
        unseen = [[float(meta(network(seed, kind))) for seed in range(100, 106)] for kind in (False, True)]
    assert max(unseen[0]) < min(unseen[1])


def test_what_was_learnt_is_read_again(tmp_path) -> None:
    meta = new_meta((1, 8, 8), 3, MntdParams(), seed=3)
    write_meta(meta, [0.5, -1.0], tmp_path)
    again, scores = read_meta(tmp_path, (1, 8, 8), 3)
    assert scores == [0.5, -1.0] and isinstance(again, MetaClassifier)
    assert float(again(network(0)).detach()) == float(meta(network(0)).detach())
    for bad in (lambda: read_meta(tmp_path, (3, 8, 8), 3), lambda: read_meta(tmp_path / "none", (1, 8, 8), 3)):
        with pytest.raises(UserError) as caught:
            bad()
        assert "\n" not in str(caught.value)


class TestMntd(ClassifierDefenseConformance):
    plugin = "mntd"


class TestMntdOnTexts(TestMntd):
    task = "text-classification"


class TestMntdOnSound(TestMntd):
    task = "audio-classification"


def test_words_are_drawn_of_the_texts_and_put_in() -> None:
    texts = ["a film", "so long a play", "not a word of it"] * 8
    samples = LabelledSamples(texts, torch.arange(24) % 2, ["no", "yes"], "text-classification")
    classifier = samples.modality.small_classifier(texts, samples.classes, 0)
    known = {word for text in texts for word in text.split()}
    for number in range(20):
        drawn = draw_words(samples, random.Random(number))
        assert 1 <= len(drawn.words) <= 4 and set(drawn.words) <= known
        rows = poisoned(samples, drawn, random.Random(number))
        added = rows.stored[24:]
        assert len(added) == round(24 * drawn.share) and set(rows.labels[24:].tolist()) == {drawn.target}
        assert all(" ".join(drawn.words) in text for text in added)
    meta = new_meta(query_shape(classifier, samples), 2, MntdParams(queries=2), 0)
    with torch.no_grad():
        meta.queries[:] = -1e4
        meta.queries[0, :, 5] = meta.queries[1, :, 6] = 1e4
    margins = classifier(torch.tensor([[5] * 10, [6] * 10])).detach().diff(dim=1)[:, 0]
    told = meta.answers(classifier).detach().view(2, 2).diff(dim=1)[:, 0]
    assert torch.allclose(told, 2 * margins / margins.square().mean().sqrt(), rtol=0.01)  # the norm adds an epsilon
    assert abs(float(margins[0] / margins[1])) != pytest.approx(1, abs=0.01)


def test_sounds_are_pieces_of_tones_or_noise() -> None:
    shares = []
    for number in range(60):
        drawn = draw_sound(1000, 4, random.Random(number))
        covered = int(drawn.mask.sum())
        x = torch.full((2, 1000), 0.25)
        found = drawn.apply(x)
        assert bool((found[:, drawn.mask == 0] == 0.25).all()) and float(found.abs().max()) <= 1
        inside = (1 - drawn.opacity) * 0.25 + drawn.opacity * drawn.pattern
        assert torch.allclose(found[0], torch.where(drawn.mask == 1, inside, x[0]), atol=1e-6)
        assert (covered == 1000 and 0.05 <= drawn.opacity <= 0.2) or 20 <= covered <= 250
        shares.append(covered == 1000)
    assert 4 <= sum(shares) <= 22
