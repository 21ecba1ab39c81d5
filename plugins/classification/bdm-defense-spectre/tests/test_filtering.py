"""Filters against the definition of their polynomials, Gaussian rows, and planted rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bdm_defense_spectre.filtering import (
    covariance_step,
    filtered_covariance,
    kept,
    mean_step,
    squares,
    top_direction,
    whitened,
)
from bdm_defense_spectre.whitening import scores, sizes_for, whiten
from bdm_kit_classification.testing import RowDetectorConformance


class TestFilter(RowDetectorConformance):
    plugin = "spectre"
    params = {
        "epochs": 1,
        "batch_size": 10,
        "covariance": "filter",
        "rule": "share",
        "chosen_by": "clean-rows",
        "compared": "common-space",
        "most_components": 4,
    }


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(rows: int = 1000, poisoned: int = 15, distance: float = 20.0) -> tuple[Tensor, Tensor]:
    """Normal features (N, 5) of unequal variances of which some are moved along the least of them, and which."""
    features = normal(rows, 5, seed=2) * torch.tensor([5.0, 1.0, 1.0, 1.0, 0.5])
    moved = torch.arange(rows) < poisoned
    features[moved, 4] += distance
    return features, moved


@pytest.mark.parametrize("rows", [8, 60])
def test_the_polynomial_is_the_first_eigenvector_of_the_fourth_moment(rows: int) -> None:
    """Of y kron y less that of the identity, by its definition; also with fewer rows than products."""
    white = whitened(normal(rows, 4) * torch.tensor([3.0, 1.0, 1.0, 0.2]))
    values = white.numpy()
    np.testing.assert_allclose(values.T @ values / rows, np.eye(4), atol=1e-9)
    products = np.stack([np.kron(row, row) for row in values])
    identity = np.eye(4).reshape(-1)
    found, vectors = np.linalg.eigh(products.T @ products / rows - np.outer(identity, identity))
    variance, direction = top_direction(squares(white))
    assert variance == pytest.approx(found[-1])
    expected = products @ vectors[:, -1]
    along = (squares(white) @ direction).numpy()
    np.testing.assert_allclose(along * np.sign(along @ expected), expected, atol=1e-9)


def test_normal_rows_are_left_alone() -> None:
    rows = normal(2000, 4) @ normal(4, 4, seed=1)
    assert covariance_step(rows - rows.mean(0), 0.05) is None
    assert mean_step(normal(2000, 4), 0.05) is None


def test_bounds_are_the_published_ones() -> None:
    """One column, so that all is to be computed by hand: 97 rows at 0 +- 1 and three at 8."""
    rows = torch.cat([torch.ones(49), -torch.ones(48), torch.full((3,), 8.0)]).double()[:, None]
    white = rows / rows.square().mean().sqrt()
    assert bool((white.square() < 10 * math.log(1000)).all()), "no row is too far at once"
    polynomial = (white.square() - 1) / math.sqrt(2)
    away = (polynomial - polynomial.quantile(0.5)).abs()[:, 0]
    share = 0.3
    assert 2 * float(polynomial.var(correction=0)) > 1 + 10 * share * math.log(1 / share) ** 2
    excess = covariance_step(rows, share)
    limit = float(away.max()) - 3
    assert limit > 10 * math.log(1 / share) and 3 * share / (limit * math.log(limit)) ** 2 < 0.03
    assert excess is not None
    torch.testing.assert_close(excess, away - limit)
    assert (excess > 0).nonzero().flatten().tolist() == [97, 98, 99]
    assert covariance_step(rows, 0.01) is None or limit > 10 * math.log(100), "rare poison must be farther away"


def test_a_row_too_far_at_once_is_left_out_first() -> None:
    rows = normal(400, 2)
    rows[7] = 300
    assert (~kept(rows, 0.1, 10, covariance_step)).nonzero().flatten().tolist() == [7]


def test_mean_is_filtered_along_the_direction_of_most_variance() -> None:
    rows = normal(2000, 3)
    rows[:100, 1] += 9
    left = kept(rows, 0.1, 200, mean_step)
    assert int(left[:100].sum()) <= 6, "variance of 1 + .1 log 10 is allowed, which so many rows make"
    assert int(left[100:].sum()) > 1880
    assert float(rows.mean(0).norm()) > 0.4 and float(rows[left].mean(0).norm()) < 0.1


@pytest.mark.parametrize("most", [0, 1, 5])
def test_no_more_are_left_out_than_allowed(most: int) -> None:
    features, moved = planted()
    left = kept(features - features.mean(0), 0.1, most, covariance_step)
    assert int((~left).sum()) == most and bool(moved[~left].all())


def test_moments_are_those_of_clean_rows() -> None:
    features, moved = planted()
    centre, covariance = filtered_covariance(features, 100.0)(torch.eye(5).double())
    expected = torch.cov(features[~moved].T)
    assert float((covariance - expected).norm() / expected.norm()) < 0.05
    assert float((centre - features[~moved].mean(0)).norm()) < 0.1
    assert float(torch.cov(features.T)[4, 4]) > 10 * float(covariance[4, 4])


def test_planted_rows_have_the_highest_scores_and_shuffled_ones_have_not() -> None:
    features, moved = planted()
    whitening, weight = whiten(features, filtered_covariance(features, 100.0), 4.0, sizes_for(1000, 5, 5), removed=150)
    found = scores(whitening(features), weight)
    flagged = found >= found.sort(descending=True).values[14]
    assert float((flagged & moved).sum()) / 15 > 0.95  # F1, as both are 15
    shuffled = moved[torch.randperm(1000, generator=torch.Generator().manual_seed(3))]
    assert float((flagged & shuffled).sum()) / 15 < 0.15


def test_a_direction_without_rows_is_no_obstacle() -> None:
    rows = torch.cat([normal(50, 2), torch.zeros(50, 1)], 1)
    assert bool(torch.isfinite(whitened(rows)).all()) and float(whitened(rows)[:, 2].abs().max()) == 0
    centre, covariance = filtered_covariance(rows, 5.0)(torch.eye(3).double())
    assert bool(torch.isfinite(centre).all()) and bool((torch.linalg.eigvalsh(covariance) > 0).all())
