"""Rates, intervals and the area under the curve against scipy and scikit-learn."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.stats import beta, binomtest, kstest
from sklearn.metrics import roc_auc_score

from bdm_torch.statistics import area_interval, area_under_curve, exact_interval, rate, too_small


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


@pytest.mark.parametrize(("hits", "count"), [(0, 7), (7, 7), (3, 10), (29, 29), (499, 500), (1, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_exact_interval_is_scipy_s(hits: int, count: int, confidence: float) -> None:
    expected = binomtest(hits, count).proportion_ci(confidence, method="exact")
    assert exact_interval(hits, count, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("area", [0.0, 0.5, 1.0])
def test_the_interval_of_an_area_from_one_pair_is_wilson_s(area: float) -> None:
    hits, count = {0.0: (0, 1), 0.5: (1, 2), 1.0: (1, 1)}[area]
    if count == 1:
        expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
        assert area_interval(area, 1, 1) == pytest.approx((expected.low, expected.high), abs=1e-6)
    low, high = area_interval(area, 20, 30)
    assert 0 <= low <= area <= high <= 1 and high - low > 0.05


def test_the_interval_of_an_area_covers() -> None:
    """Normal scores, true area 0.921 (a shift of 2): about 95 % of the intervals have it in them."""
    source = random.Random(1)
    hits = 0
    for _ in range(300):
        bad = [source.gauss(2, 1) for _ in range(15)]
        good = [source.gauss(0, 1) for _ in range(15)]
        low, high = area_interval(area_under_curve(bad, good, 0.95).value, 15, 15)
        hits += low <= 0.9213504 <= high
    assert 0.92 <= hits / 300 <= 1


def test_p_values_that_are_too_small_are_found_as_by_scipy() -> None:
    draw = np.random.default_rng(0)
    uniform, large, small = draw.uniform(size=40), draw.uniform(0.5, 1, size=40), draw.uniform(size=40) ** 3
    for values in (uniform, large, small):
        expected = kstest(values, "uniform", alternative="greater", method="exact").pvalue
        assert too_small(values.tolist()) == pytest.approx(expected, abs=1e-9)
    assert too_small(uniform.tolist()) > 0.05 and too_small(large.tolist()) > 0.9
    assert too_small(small.tolist()) < 0.01
