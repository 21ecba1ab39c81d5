"""Conformal p-values: uniform on exchangeable scores, whatever their distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from bdm_torch.calibration import conformal, one_class


@pytest.mark.parametrize("shape", ["normal", "lognormal", "two kinds"])
def test_p_values_of_further_clean_models_are_uniform_or_larger(shape: str) -> None:
    draw = np.random.default_rng(0)

    def scores(count: int) -> list[float]:
        if shape == "normal":
            return list(draw.normal(size=count))
        if shape == "lognormal":
            return list(draw.lognormal(sigma=2, size=count))
        return list(np.where(draw.random(count) < 0.9, 0.0, 5 + draw.normal(size=count)))

    values = []
    for _ in range(400):
        *clean, further = scores(40)
        values.append(conformal(further, clean, 0.05).p_value)
    assert kstest(values, "uniform", alternative="greater").pvalue > 0.01
    if shape == "lognormal":  # where the interval of a normal distribution is wrong, ranks are not
        assert np.mean(np.array(values) <= 0.1) < 0.15


def test_the_threshold_is_where_the_p_value_falls_below_the_rate() -> None:
    clean = [float(number) for number in range(39)]
    for score in (36.5, 37.5, 38.5):
        verdict = conformal(score, clean, 0.05)
        assert (verdict.score > verdict.threshold) is (verdict.p_value <= 0.05)
    assert conformal(0.0, clean, 0.05, least=100).threshold == 100


def test_few_clean_models_fall_back_on_the_prediction_interval_for_the_threshold_only() -> None:
    clean = [0.1, 0.2, 0.3, 0.4]
    verdict = conformal(9.0, clean, 0.01)
    assert verdict.threshold == one_class(9.0, clean, 0.01).threshold and verdict.p_value == 1 / 5
