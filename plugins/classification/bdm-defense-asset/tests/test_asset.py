"""Concentration of planted rows, the loss by hand, and a threshold between two distributions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from bdm_core.testing.tiny import new_context
from bdm_defense_asset.offset import density_threshold, mixture_threshold, offset_loss, unlike
from bdm_defense_asset.params import AssetParams
from bdm_defense_asset.plugin import Asset
from bdm_defense_asset.released import RATE, answer, features_of_batches, medcouple, outlying, outlyingness, separated
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import RowDetectorConformance
from bdm_kit_classification.testing.planted import plant
from bdm_kit_classification.testing.separation import judge_planted


class TestAsset(RowDetectorConformance):
    plugin = "asset"


class TestMixture(RowDetectorConformance):
    plugin = "asset"
    params = {
        "epochs": 1,
        "batch_size": 10,
        "offset_steps": 2,
        "concentration_steps": 2,
        "offset_batch": 8,
        "rule": "mixture",
    }


class TestReleased(RowDetectorConformance):
    plugin = "asset"
    params = {
        "epochs": 1,
        "batch_size": 10,
        "training": "new",
        "rule": "density",
        "offset_steps": 2,
        "concentration_steps": 2,
        "offset_batch": 8,
    }


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_loss_pulls_clean_rows_down_and_training_rows_up_to_a_limit() -> None:
    clean, training = torch.tensor([1.0, 3.0]), torch.tensor([0.5, 5.0, 9.0]).requires_grad_()
    loss = offset_loss(clean, training, 6.0)
    assert float(loss.detach()) == pytest.approx(2 + (5.5 + 1 + 0) / 3)
    assert torch.autograd.grad(loss, training)[0].tolist() == pytest.approx([-1 / 3, -1 / 3, 0])


def test_poison_is_concentrated() -> None:
    clean, training = normal(300, 6), normal(400, 6, seed=1)
    poisoned = torch.arange(400) % 10 == 0
    training[poisoned, 2] += 9
    picked = unlike(training, clean, 0.1, 60, seed=0)
    assert len(picked) == 40 and float(poisoned[picked].float().mean()) > 0.9
    shuffled = poisoned[torch.randperm(400, generator=torch.Generator().manual_seed(5))]
    assert float(shuffled[picked].float().mean()) < 0.3


def test_threshold_is_where_two_densities_cross() -> None:
    chance = torch.Generator().manual_seed(3)
    low = 1 + 0.5 * torch.randn(9000, generator=chance, dtype=torch.float64)
    high = 6 + torch.randn(1000, generator=chance, dtype=torch.float64)
    crossing = brentq(lambda x: 0.9 * norm.pdf(x, 1, 0.5) - 0.1 * norm.pdf(x, 6, 1), 1, 6)
    assert mixture_threshold(torch.cat([low, high]), 0) == pytest.approx(crossing, abs=0.1)


def test_density_of_the_lower_half_has_fallen_at_the_threshold() -> None:
    losses = torch.cat([normal(900).double(), 9 + normal(100, seed=1).double()])
    lower = losses.sort().values[:500].numpy()
    assert norm.pdf(density_threshold(losses), lower.mean(), lower.std()) == pytest.approx(1e-6, rel=1e-6)


def test_medcouple_and_outlyingness_follow_their_definitions() -> None:
    values = normal(31).double().exp()
    middle = np.median(values)
    pairs = [
        ((a - middle) - (middle - b)) / (a - b)
        for a in values.tolist()
        for b in values.tolist()
        if a >= middle >= b and a > b
    ]
    assert float(medcouple(values)) == pytest.approx(np.median([*pairs, 0.0]))
    assert float(medcouple(-values)) == pytest.approx(-float(medcouple(values)))
    low, high = np.quantile(values, [0.25, 0.75])
    skew = float(medcouple(values))
    upper = high + 1.5 * np.exp(3 * skew) * (high - low) - middle
    lower = middle - low + 1.5 * np.exp(-4 * skew) * (high - low)
    expected = np.where(values >= middle, (values - middle) / upper, (values - middle) / lower)
    np.testing.assert_allclose(outlyingness(values).numpy(), expected, rtol=1e-9)


def test_planted_rows_are_outlying_to_the_released_inner_network() -> None:
    clean, training = normal(256, 64).abs(), normal(256, 64, seed=1).abs()
    poisoned = torch.arange(256) % 16 == 0
    training[poisoned, :16] += 10
    picked = torch.cat([outlying(training, clean, 100, seed) for seed in range(6)])  # each step has a new network
    assert len(picked) > 30 and float(poisoned[picked].float().mean()) > 0.9
    shuffled = poisoned[torch.randperm(256, generator=torch.Generator().manual_seed(5))]
    assert float(shuffled[picked].float().mean()) < 0.3


def signs(before: torch.Tensor, after: torch.Tensor, rate: float) -> torch.Tensor:
    return (after - before).detach() / rate


def test_the_inner_network_has_two_steps_each_with_its_own_adam() -> None:
    """The first step of an Adam is its rate times the sign of the gradient, so that two of them add up to 0 or 2."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 1), torch.nn.Sigmoid())
    before = [parameter.detach().clone() for parameter in network.parameters()]
    training, clean = normal(32, 6, seed=1) + 2, normal(32, 6, seed=2)
    answer(network, training, clean, 1)
    weight, bias = (signs(old, new, RATE) for old, new in zip(before, network.parameters(), strict=True))
    share = (training @ before[0][0] + before[1]).sigmoid()
    first = ((share * (1 - share) ** 2)[:, None] * training).mean(0).sign()
    assert bool(((weight[0] - first).abs() < 1.01).all())
    assert bool(((weight.abs() < 0.01) | (weight.abs() > 1.99)).all())
    assert abs(float(bias)) < 0.01  # up by the first step, down by the second


def small() -> tuple[LabelledSamples, LabelledSamples, torch.nn.Module]:
    chance = torch.Generator().manual_seed(4)
    pictures = torch.randint(0, 256, (40, 1, 8, 8), generator=chance, dtype=torch.uint8)
    rows = LabelledSamples(pictures, torch.arange(40) % 2, ["a", "b"], "image-classification")
    classifier = build(ImageConfig(architecture="cnn", width=4, shape=(1, 8, 8), classes=["a", "b"]), seed=1)
    return rows.pick(list(range(30))), rows.pick(list(range(30, 40))), classifier


def test_the_outer_network_has_an_adam_for_either_goal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above: after one step of each, every weight has moved by 0 or by twice the rate."""
    monkeypatch.setattr("bdm_defense_asset.released.outlying", lambda rows, *_: torch.arange(len(rows)))
    rows, clean, classifier = small()
    rate = 1e-3
    params = AssetParams(training="new", offset_steps=1, offset_batch=8, offset_learning_rate=rate, pool=1)
    ctx = new_context(tmp_path, seed=5)
    made = separated(ctx, params, classifier, rows, clean)
    moved = [
        signs(old, new, rate).flatten()
        for old, new in zip(classifier.fresh(5).parameters(), made.parameters(), strict=True)
    ]
    moves = torch.cat(moved).abs()
    whole = ((moves - 2).abs() < 0.02) | (moves < 0.02) | ((moves - 1).abs() < 0.02)  # 1: no gradient of one goal
    assert float(whole.float().mean()) > 0.97 and float(((moves - 2).abs() < 0.02).float().mean()) > 0.2


def test_features_are_normalised_by_the_batch_and_the_model_stays() -> None:
    rows, _, classifier = small()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    inputs, features = rows.raw(), features_of_batches(classifier)
    torch.testing.assert_close(features(inputs), features(inputs))
    assert not torch.allclose(features(inputs)[:10], features(inputs[:10]))
    classifier.train()
    torch.testing.assert_close(features(inputs), classifier.features(inputs).detach())
    classifier.load_state_dict(before)
    features(inputs)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_planted_rows_are_forgotten_and_shuffled_flags_are_not(tmp_path: Path) -> None:
    """The default training, in fewer and larger steps."""
    steps = {"offset_steps": 80, "offset_batch": 32, "offset_learning_rate": 0.03, "concentration_steps": 20}
    found = judge_planted(Asset(), plant(tmp_path / "planted"), tmp_path, false_positive_rate=0.02, **steps)
    assert found.f1 > 0.9 > 0.3 > found.shuffled
