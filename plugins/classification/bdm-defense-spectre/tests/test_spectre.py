"""Whitening and scores against NumPy, limits of alpha, and planted rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm, sqrtm
from torch import Tensor

from bdm_defense_spectre.detection import relative_to_share
from bdm_defense_spectre.whitening import (
    covariance_of_clean,
    left_over,
    robust_covariance,
    scores,
    sizes_for,
    weights,
    whiten,
)
from bdm_kit_classification.testing import RowDetectorConformance


class TestSpectre(RowDetectorConformance):
    plugin = "spectre"


class TestSpectreOnTexts(TestSpectre):
    task = "text-classification"


class TestPublishedRule(RowDetectorConformance):
    plugin = "spectre"
    params = {
        "epochs": 1,
        "batch_size": 10,
        "covariance": "robust",
        "rule": "share",
        "compared": "common-space",
        "most_components": 2,
    }


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_score_follows_its_definition() -> None:
    whitened = normal(40, 5) * torch.tensor([1.0, 3.0, 1.0, 0.5, 1.0])
    values = whitened.numpy()
    second = values.T @ values / 40
    matrix = expm(4 * (second - np.eye(5)) / (np.linalg.norm(second, 2) - 1))
    expected = np.einsum("ni,ij,nj->n", values, matrix, values) / np.trace(matrix)
    np.testing.assert_allclose(scores(whitened, weights(whitened, 4.0)).numpy(), expected)


def test_alpha_goes_from_the_squared_length_to_the_first_direction() -> None:
    whitened = normal(60, 4) * torch.tensor([1.0, 4.0, 1.0, 1.0])
    torch.testing.assert_close(scores(whitened, weights(whitened, 0.0)), whitened.square().sum(1) / 4)
    vector = torch.linalg.eigh(whitened.T @ whitened).eigenvectors[:, -1]
    torch.testing.assert_close(scores(whitened, weights(whitened, 100.0)), (whitened @ vector).square())


def test_clean_rows_are_whitened() -> None:
    features = normal(400, 6) @ normal(6, 6, seed=1) + 3
    estimate = covariance_of_clean(features, features - features.mean(0), ridge=0.0)
    whitening, _ = whiten(features, estimate, 4.0, [6])
    np.testing.assert_allclose(np.cov(whitening(features).numpy(), rowvar=False, bias=True), np.eye(6), atol=1e-6)
    np.testing.assert_allclose(whitening(features).mean(0).numpy(), 0, atol=1e-9)


@pytest.mark.parametrize("kind", ["clean", "robust"])
def test_poison_along_a_direction_of_little_variance_is_found(kind: str) -> None:
    """Where plain principal components see nothing: clean variance 25 along one axis, poison shifts another by 5."""
    scale = torch.tensor([5.0, 1.0, 1.0, 1.0, 0.5])
    clean, features = normal(200, 5, seed=1) * scale, normal(300, 5, seed=2) * scale
    poisoned = torch.arange(300) < 75
    features[poisoned, 4] += 5
    estimate = covariance_of_clean(clean, clean - clean.mean(0)) if kind == "clean" else robust_covariance(features, 0)
    whitening, weight = whiten(features, estimate, 4.0, sizes_for(300, 5, 5))
    found = scores(whitening(features), weight)
    flagged = found >= found.sort(descending=True).values[74]
    assert float((flagged & poisoned).sum()) / 75 > 0.9
    projected = (features - features.mean(0))[:, 0].square()
    shuffled = poisoned[torch.randperm(300, generator=torch.Generator().manual_seed(3))]
    assert float((flagged & shuffled).sum()) / 75 < 0.4
    plain = projected >= projected.sort(descending=True).values[74]
    assert float((plain & poisoned).sum()) / 75 < 0.4


def test_left_over_is_the_mean_score_after_whitening_by_the_rest() -> None:
    rows, found = normal(50, 4) @ normal(4, 4, seed=1), normal(50, seed=2)
    rows = rows - rows.mean(0)
    kept = rows.numpy()[np.argsort(found.numpy())[:40]]
    white = np.linalg.inv(sqrtm(np.cov(kept, rowvar=False, bias=True))) @ rows.numpy().T
    second = white @ white.T / 50
    matrix = expm(4 * (second - np.eye(4)) / (np.linalg.norm(second, 2) - 1))
    expected = np.trace(second @ matrix) / np.trace(matrix)
    np.testing.assert_allclose(left_over(rows, found, 10, 4.0), expected, rtol=1e-4)


def test_the_number_of_components_is_that_whose_removal_leaves_clean_rows() -> None:
    """Poison lies along the fourth direction: fewer components do not see it, and the published comparison says so."""
    features = normal(300, 4, seed=2) * torch.tensor([8.0, 6.0, 5.0, 0.5])
    features[:30, 3] += 4
    clean = normal(200, 4, seed=1) * torch.tensor([8.0, 6.0, 5.0, 0.5])
    whitening, weight = whiten(features, covariance_of_clean(clean, clean, 0.0), 4.0, [1, 2, 4], removed=45)
    assert len(weight) == 4
    assert int((scores(whitening(features), weight).argsort(descending=True)[:45] < 30).sum()) == 30


def test_robust_covariance_is_hardly_moved_by_a_quarter_of_the_rows() -> None:
    features = normal(400, 3)
    features[:100] += 20
    centre, covariance = robust_covariance(features, 0)(torch.eye(3).double())
    assert float(centre.norm()) < 0.5 and float((covariance - torch.eye(3)).norm()) < 1
    assert float(torch.cov(features.T).norm()) > 50


def test_share_is_flagged_in_the_suspected_class_only() -> None:
    found, suspected = torch.arange(20).double(), torch.arange(20) % 2 == 0
    judged = relative_to_share(found, suspected, 3.0)
    assert (judged > 1).nonzero().flatten().tolist() == [14, 16, 18]
    assert bool((judged[~suspected].diff() > 0).all())


def test_sizes() -> None:
    assert (
        sizes_for(400, 64, 32) == [1, 2, 4, 8, 16, 32] and sizes_for(3, 9, 9) == [1] and sizes_for(99, 3, 9) == [1, 2]
    )
