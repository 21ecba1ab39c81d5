"""Outlier scores of spectral signatures against NumPy, and planted rows found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bdm_torch.spectral_signatures import outlier_scores, relative_scores


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_scores_are_squared_projections_on_the_first_eigenvector_of_the_covariance() -> None:
    features = normal(50, 6) * torch.tensor([1.0, 5.0, 1.0, 2.0, 1.0, 1.0]) + 3
    scores, share = outlier_scores(features)
    values = features.double().numpy()
    eigenvalues, vectors = np.linalg.eigh(np.cov(values, rowvar=False))
    expected = ((values - values.mean(0)) @ vectors[:, -1]) ** 2
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-9)
    assert share == pytest.approx(eigenvalues[-1] / eigenvalues.sum())


def test_equal_rows_have_no_scores() -> None:
    scores, share = outlier_scores(torch.ones(5, 3))
    assert not scores.any() and share == 0


def test_of_every_group_the_published_share_is_flagged() -> None:
    names = ["a"] * 40 + ["b"] * 20
    scores, groups = relative_scores(normal(60, 5), names, 1.5 * 0.1)
    assert int((scores[:40] > 1).sum()) == 6 and int((scores[40:] > 1).sum()) == 3
    assert [(group.name, group.rows) for group in groups] == [("a", 40), ("b", 20)]
    for part, group in zip((slice(0, 40), slice(40, 60)), groups, strict=True):
        own, _ = outlier_scores(normal(60, 5)[part])
        torch.testing.assert_close(scores[part] * group.cutoff, own)
    alone, _ = relative_scores(normal(1, 5), ["c"], 0.9)
    assert not bool((alone > 1).any())


def test_rows_shifted_in_one_direction_come_first() -> None:
    """A share epsilon shifted by far more than the spread: the first singular vector is along the shift."""
    shift = torch.zeros(8)
    shift[3] = 12.0
    poisoned = torch.arange(400) % 10 == 0
    features = normal(400, 8) + torch.where(poisoned[:, None], shift, torch.zeros(8))
    scores, _ = relative_scores(features, ["all"] * 400, 0.15)
    assert bool((scores[poisoned] > 1).all()) and int((scores > 1).sum()) == 60
