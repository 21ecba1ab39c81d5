"""Concentration of planted rows, the loss by hand, and a threshold between two distributions."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from bdm_defense_asset.offset import mixture_threshold, offset_loss, unlike
from bdm_kit_classification.testing import RowDetectorConformance


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
