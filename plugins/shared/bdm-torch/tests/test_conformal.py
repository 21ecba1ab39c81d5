"""Conformal p-values: uniform on exchangeable scores, whatever their distribution; and the rule of verdicts."""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.stats import kstest

from bdm_core.errors import ArtifactError, UserError
from bdm_torch.calibration import Verdict, conformal, conformal_of_several, limit_of, prediction_limit
from bdm_torch.calibration_file import Calibrated

FEW = [0.1, 0.2, 0.15, 0.3, 0.12, 0.25]


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


def test_ranks_are_exactly_uniform_over_the_choice_of_the_further_model() -> None:
    """Exchangeable: whichever of n + 1 models is the further one, each rank is taken once."""
    models = [3.0, -1.0, 0.5, 7.0, 2.0]
    found = [conformal(models[i], models[:i] + models[i + 1 :], 0.05).p_value for i in range(5)]
    assert sorted(found) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("seed", range(5))
def test_ranks_of_several_features_are_exactly_uniform_too(seed: int) -> None:
    """Full conformal: the same, for correlated features of very different size, and whatever the others' order."""
    draw = np.random.default_rng(seed)
    first = draw.lognormal(sigma=2, size=9)
    models = np.stack([first, 1e-3 * first**2 + draw.normal(size=9), draw.standard_cauchy(9)], axis=1).tolist()
    found = [conformal_of_several(models[i], models[:i] + models[i + 1 :], 0.05).p_value for i in range(9)]
    assert sorted(found) == pytest.approx([rank / 9 for rank in range(1, 10)])
    again = {conformal_of_several(models[0], list(order), 0.05).p_value for order in permutations(models[1:5])}
    assert len(again) == 1


def test_one_feature_alone_is_ranked_as_its_score() -> None:
    for value in (0.05, 0.14, 0.21, 0.9):
        several = conformal_of_several([value], [[score] for score in FEW], 0.02)
        assert several.p_value == pytest.approx(conformal(value, FEW, 0.02).p_value)


def test_the_limit_is_where_the_p_value_falls_to_the_rate() -> None:
    clean = [float(number) for number in range(39)]
    for score in (35.0, 36.5, 37.0, 37.5, 38.0, 38.5):
        verdict = conformal(score, clean, 0.05)
        assert verdict.unusual is verdict.backdoored is (verdict.p_value <= 0.05)
    assert conformal(0.0, clean, 0.05, least=100).threshold == 100


@pytest.mark.parametrize("count", [3, 5, 13, 19, 20, 40, 99, 150])
@pytest.mark.parametrize("rate", [0.01, 0.03, 0.05, 0.3])
def test_verdict_and_p_value_never_contradict_each_other(count: int, rate: float) -> None:
    draw = np.random.default_rng(count)
    for trial in range(60):
        clean = list(np.round(draw.lognormal(sigma=1.5, size=count), 1))  # with ties
        score = float(draw.choice([*clean, *(draw.lognormal(sigma=3, size=3))]))
        several = draw.lognormal(size=(count + 1, 2)).round(1).tolist()
        found = [conformal(score, clean, rate, least) for least in (0.0, float(draw.choice([0.5, 2.0, 30.0])))]
        for verdict in [*found, conformal_of_several(several[0], several[1:], rate)]:
            assert verdict.least_p_value == pytest.approx(1 / (1 + count)) and verdict.threshold >= verdict.limit
            reached = verdict.p_value <= rate + 1e-9
            if verdict.backdoored:
                assert verdict.unusual and not verdict.doubt
                assert reached or verdict.p_value == pytest.approx(verdict.least_p_value), trial
            if reached:
                assert verdict.unusual, "a score that so few clean models have is never called clean"
                assert verdict.backdoored or "cannot tell" in verdict.doubt


def test_few_clean_models_fall_back_on_the_prediction_interval_for_the_limit_only() -> None:
    verdict = conformal(9.0, [0.1, 0.2, 0.3, 0.4], 0.01)
    assert verdict.threshold == prediction_limit([0.1, 0.2, 0.3, 0.4], 0.01) and verdict.p_value == 1 / 5
    assert verdict.resolution == " (p = 0.2 is the least that 4 clean models allow)"
    assert conformal(0.15, [0.1, 0.2, 0.3, 0.4], 0.01).resolution == ""
    long_tail = [*[0.1, 0.11, 0.12] * 10, 9.0]
    assert limit_of(long_tail, 0.01) == 9.0 > prediction_limit(long_tail, 0.01), "never below what a clean model has"


def test_the_prediction_interval_is_that_of_a_two_sample_t_test_with_one_suspect() -> None:
    limit = prediction_limit(FEW, 0.01)
    test = stats.ttest_ind([limit], FEW, alternative="greater")  # pooled variance: that of the clean models alone
    assert float(test.pvalue) == pytest.approx(0.01)
    draws = np.random.default_rng(0).normal(1.0, 0.2, (4000, 9))
    assert 0.04 < np.mean([row[0] > prediction_limit(list(row[1:]), 0.05) for row in draws]) < 0.06


def test_above_the_limit_and_below_the_threshold_it_cannot_tell() -> None:
    verdict = conformal(0.9, FEW, 0.01, least=1.0)
    assert not verdict.backdoored and "cannot tell: a score of 0.9 is higher than clean models have" in verdict.doubt
    assert conformal(0.2, FEW, 0.01, least=1.0).doubt == "" == conformal(1.1, FEW, 0.01, least=1.0).doubt


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_score(bad: float) -> None:
    with pytest.raises(ArtifactError, match="NaN or infinite"):
        conformal(bad, FEW, 0.01)
    with pytest.raises(ArtifactError, match="NaN or infinite"):
        conformal_of_several([0.1, bad], [[value, value] for value in FEW], 0.01)
    with pytest.raises(UserError, match="one of its clean models"):
        conformal(0.1, [*FEW, bad], 0.01)
    with pytest.raises(UserError, match="one of its clean models"):
        conformal_of_several([0.1, 0.1], [[0.1, bad], *([value, value] for value in FEW)], 0.01)
    with pytest.raises(ValueError, match="finite"):
        Verdict(score=bad, threshold=1.0, p_value=0.5, limit=1.0, least_p_value=0.1)


def test_a_calibration_needs_three_models() -> None:
    with pytest.raises(UserError, match="3 clean"):
        conformal(0.9, FEW[:2], 0.01)
    with pytest.raises(UserError, match="3 clean"):
        conformal_of_several([0.2], [[0.1], [0.2]], 0.01)


def test_damaged_calibration_files_are_one_line(tmp_path: Path) -> None:
    detector, file = Calibrated(name="mine", package="bdm_torch"), tmp_path / "mine.json"
    record = '{"name": "m", "shape": [1], "features": [%s]}'
    whole = '{"recipe": "r", "configuration": {}, "records": [%s]}'
    for content, words in (
        (b"\xff\xfe\x00", "no UTF-8 text"),
        (b"{", "Invalid JSON"),
        ((whole % (record % "NaN")).encode(), r"records\.0\.features\.0: Input should be a finite number"),
        ((whole % (record % "1, 2")).encode(), "it needs 1 features a model"),
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match=f"mine.json is no calibration of mine: .*{words}") as caught:
            detector.read(file)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="Is a directory"):
        detector.read(tmp_path)
