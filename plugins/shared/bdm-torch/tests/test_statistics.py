"""Rates, intervals and the area under the curve against scipy and scikit-learn."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.stats import beta, binomtest
from sklearn.metrics import roc_auc_score

from bdm_torch.statistics import area_under_curve, rate


@pytest.mark.parametrize(("hits", "count"), [(0, 7), (7, 7), (3, 10), (499, 500)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_rate_has_the_wilson_interval_and_a_deviation(hits: int, count: int, confidence: float) -> None:
    found = rate(hits, count, confidence)
    expected = binomtest(hits, count).proportion_ci(confidence, method="wilson")
    assert found.value == hits / count
    assert found.stderr == pytest.approx(beta(hits + 0.5, count - hits + 0.5).std(), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("digits", [1, 6])
def test_area_agrees_with_scikit_learn_ties_included(digits: int) -> None:
    source = random.Random(0)
    positive = [round(source.gauss(0.8, 1), digits) for _ in range(60)]
    negative = [round(source.gauss(0, 1), digits) for _ in range(40)]
    expected = roc_auc_score([1] * 60 + [0] * 40, positive + negative)
    assert area_under_curve(positive, negative, 0.95).value == pytest.approx(expected, abs=1e-12)


def test_perfect_and_inverted_scores() -> None:
    assert area_under_curve([3, 4], [1, 2], 0.95).value == 1
    assert area_under_curve([1, 2], [3, 4], 0.95).value == 0
    assert area_under_curve([1, 1], [1, 1], 0.95).value == 0.5


def test_standard_error_of_the_area_is_its_spread_over_samples() -> None:
    source = np.random.default_rng(1)
    found = [area_under_curve(source.normal(1, 1, 50), source.normal(0, 1, 70), 0.95) for _ in range(300)]
    spread = float(np.std([item.value for item in found], ddof=1))
    typical = float(np.mean([item.stderr for item in found if item.stderr is not None]))
    assert typical == pytest.approx(spread, rel=0.15)


def test_one_score_a_side_has_no_standard_error() -> None:
    found = area_under_curve([2.0], [1.0], 0.95)
    assert (found.value, found.stderr, found.low, found.high) == (1.0, None, None, None)
