"""The Frechet distance against closed forms and scipy, and its standard error against resampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from bdm_metric_frechet.distance import FrechetDistance


def draws(count: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_distance_of_a_set_to_itself_is_zero() -> None:
    features = draws(100, 5, 0)
    assert FrechetDistance(features)(features) == pytest.approx(0, abs=1e-9)


def test_shift_and_scale_have_a_closed_form() -> None:
    features = draws(400, 3, 1)
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    distance = FrechetDistance(features)
    assert distance(features + shift) == pytest.approx(1 + 4 + 0.25, abs=1e-8)
    centred = features - features.mean(0)
    variance = float(centred.var(0, correction=1).sum())
    assert FrechetDistance(centred)(3 * centred) == pytest.approx((3 - 1) ** 2 * variance, rel=1e-9)


def test_general_covariances_agree_with_scipy() -> None:
    first, second = draws(300, 6, 2) @ draws(6, 6, 3), draws(250, 6, 4) @ draws(6, 6, 5) + 0.3
    a, b = np.cov(first.numpy().T), np.cov(second.numpy().T)
    gap = first.mean(0).numpy() - second.mean(0).numpy()
    expected = gap @ gap + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert FrechetDistance(first)(second) == pytest.approx(expected, rel=1e-8)


def test_to_the_bit_that_of_torchmetrics() -> None:
    given = nn.Identity()
    given.num_features = 6  # type: ignore[assignment]
    metric = FrechetInceptionDistance(feature=given).set_dtype(torch.float64)
    first, second = draws(300, 6, 2).float() @ draws(6, 6, 3).float(), draws(40, 6, 4).float() + 0.3
    metric.update(first.double(), real=True)
    metric.update(second.double(), real=False)
    assert FrechetDistance(first)(second) == float(metric.compute())


def test_features_of_lower_rank_than_their_width() -> None:
    reference = draws(300, 8, 6)
    distance = FrechetDistance(reference)(draws(5, 8, 7))
    assert math.isfinite(distance) and distance > 0


def test_repeated_use_does_not_accumulate() -> None:
    distance = FrechetDistance(draws(200, 4, 8))
    features = draws(100, 4, 9) + 1
    first = distance(features)
    distance(draws(50, 4, 10))
    assert distance(features) == first


def test_standard_error_is_the_spread_over_independent_samples() -> None:
    distance = FrechetDistance(draws(4000, 3, 11))
    values = torch.tensor([distance(draws(200, 3, 100 + trial) + 1) for trial in range(200)], dtype=torch.float64)
    estimates = [distance.standard_error(draws(200, 3, 100 + trial) + 1, blocks=20) for trial in range(40)]
    typical = sum(value for value in estimates if value is not None) / len(estimates)
    assert typical == pytest.approx(float(values.std()), rel=0.2)


def test_standard_error_needs_blocks_and_samples() -> None:
    distance = FrechetDistance(draws(50, 2, 12))
    assert distance.standard_error(draws(30, 2, 13), blocks=0) is None
    assert distance.standard_error(draws(2, 2, 14), blocks=2) is None
    assert distance.standard_error(draws(3, 2, 15), blocks=20) is not None
