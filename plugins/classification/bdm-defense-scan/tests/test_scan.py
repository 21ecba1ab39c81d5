"""Expectation maximisation, likelihoods against SciPy, and a planted second component."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.stats import median_abs_deviation, multivariate_normal
from torch import Tensor

from bdm_defense_scan.decomposition import decompose, log_likelihood, step
from bdm_defense_scan.untangling import deviations, untangle
from bdm_kit_classification.defending.feature_rows import FeatureRows
from bdm_kit_classification.testing import RowDetectorConformance


class TestScan(RowDetectorConformance):
    plugin = "scan"


class TestScanOnTexts(TestScan):
    task = "text-classification"


class TestPublishedRule(RowDetectorConformance):
    plugin = "scan"
    params = {"epochs": 1, "batch_size": 10, "rule": "class"}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_likelihood_is_that_of_the_joint_normal_distribution() -> None:
    one, other = normal(3, 3, seed=1), normal(3, 3, seed=2)
    among, within = one @ one.T + torch.eye(3), other @ other.T + torch.eye(3)
    groups = [normal(4, 3, seed=3), normal(2, 3, seed=4)]
    expected = 0.0
    for group in groups:
        size = len(group)
        covariance = np.kron(np.ones((size, size)), among.numpy()) + np.kron(np.eye(size), within.numpy())
        expected += multivariate_normal(np.zeros(3 * size), covariance).logpdf(group.flatten().numpy())
    np.testing.assert_allclose(log_likelihood(groups, among, within), expected)


def test_every_step_raises_the_likelihood() -> None:
    groups = [normal(size, 4, seed=size) + 3 * normal(1, 4, seed=50 + size) for size in (5, 9, 14, 9)]
    among, within = torch.eye(4).double(), torch.eye(4).double()
    likelihoods = []
    for _ in range(15):
        likelihoods.append(log_likelihood(groups, among, within))
        among, within = step(groups, among, within)
    assert all(after > before for before, after in itertools.pairwise(likelihoods))


def planted(share: float, classes: int = 12) -> tuple[FeatureRows, Tensor, Tensor]:
    """Rows of classes whose features vary in one way; in the first a share is of another identity. Which; S_eps."""
    mixing = normal(6, 6, seed=7) + torch.eye(6)
    labels = torch.arange(100 * classes) % classes
    identities = 9 * normal(classes + 1, 6, seed=8)
    poisoned = (labels == 0) & (torch.arange(len(labels)) < share * len(labels))
    identity = torch.where(poisoned, torch.tensor(classes), labels)
    return (
        FeatureRows(identities[identity] + normal(len(labels), 6, seed=9) @ mixing.T, labels),
        poisoned,
        mixing @ mixing.T,
    )


def test_covariance_within_classes_is_recovered() -> None:
    rows, _, within = planted(0.0)
    found = decompose(rows, 30)
    assert float((found.within - within).norm() / within.norm()) < 0.1
    whitened = found.whitened(rows.features).numpy()
    pooled = sum(np.cov(whitened[rows.labels == label], rowvar=False) for label in range(12)) / 12
    np.testing.assert_allclose(pooled, np.eye(6), atol=0.05)


def test_planted_component_is_found_and_its_class_stands_out() -> None:
    clean, _, _ = planted(0.0)
    rows, poisoned, _ = planted(0.3)
    space = decompose(clean, 30)
    scores, ratios = torch.zeros(len(rows)).double(), []
    for label, own in rows.by_class():
        found = untangle(space.whitened(rows.features[own]), space.whitened(clean.of(label)))
        scores[own] = found.log_ratio(space.whitened(rows.features[own]))
        ratios.append(found.ratio)
    statistics = deviations(torch.tensor(ratios, dtype=torch.float64))
    assert int(statistics.argmax()) == 0 and float(statistics[0]) > np.e**2 > float(statistics[1:].max())
    values = np.array(ratios)
    expected = (values - np.median(values)) / median_abs_deviation(values, scale="normal")
    np.testing.assert_allclose(statistics.numpy(), expected, rtol=1e-4)
    flagged = (scores > 0) & (rows.labels == 0)
    shuffled = poisoned[torch.randperm(len(rows), generator=torch.Generator().manual_seed(2))]
    assert 2 * float((flagged & shuffled).sum()) / float(flagged.sum() + shuffled.sum()) < 0.2
    assert 2 * float((flagged & poisoned).sum()) / float(flagged.sum() + poisoned.sum()) > 0.95


def test_clean_rows_say_which_component_is_the_usual_one() -> None:
    features = torch.cat([normal(30, 3), normal(70, 3, seed=1) + 9])
    known = untangle(features, normal(5, 3, seed=2))
    assert float(known.usual.norm()) < 1 < 9 < float(known.other.norm())
    assert float(untangle(features, None).other.norm()) < 1, "without clean rows the smaller one is suspected"
    one = untangle(torch.ones(4, 3).double(), None)
    assert one.ratio == 0 and not bool(one.log_ratio(features).any())
