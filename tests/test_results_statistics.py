"""Means, intervals, tests and ranks: against SciPy, closed forms, published tables and planted cases."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from pathlib import Path

import pytest
from made_runs import make_grid, make_run

from bdm_core.errors import UserError
from bdm_results.columns import Pairs
from bdm_results.distributions import f_survival, range_quantile, t_distribution, t_quantile
from bdm_results.intervals import Estimate
from bdm_results.paired import compare, holm, wilcoxon
from bdm_results.ranking import critical_difference, friedman, rank
from bdm_results.results import Results, Selection
from bdm_results.summaries import pivot, summarise
from bdm_results.treatments import ranks_of

pytest.importorskip("duckdb", reason="not installed: pip install 'bdm[results]'")
stats = pytest.importorskip("scipy.stats", reason="not installed: pip install 'bdm[results]'")
ASR = Selection(metrics=("asr",), rows=("final",))
RATE = "metric:made.asr"


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 30, 1000])
def test_t_quantiles_are_scipys(freedom: int) -> None:
    for probability in (0.01, 0.3, 0.5, 0.9, 0.975, 0.9995):
        assert t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-9, abs=1e-12)


def test_t_with_one_and_two_degrees_of_freedom_has_a_closed_form() -> None:
    for value in (0.1, 1.0, 7.5):
        assert t_distribution(value, 1) == pytest.approx(0.5 + math.atan(value) / math.pi, rel=1e-12)
        assert t_distribution(value, 2) == pytest.approx(0.5 + value / (2 * math.sqrt(2 + value**2)), rel=1e-12)


def test_the_interval_covers_as_often_as_it_says() -> None:
    chance = random.Random(0)
    hits = 0
    for _ in range(2000):
        sample = [chance.gauss(3, 2) for _ in range(4)]
        low, high = Estimate(statistics.fmean(sample), statistics.stdev(sample), 4).interval or (0, 0)
        hits += low <= 3 <= high
    assert hits / 2000 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 2000))


def test_one_seed_has_no_interval() -> None:
    assert Estimate(0.5, None, 1).interval is None and Estimate(0.5, None, 1).half_width is None
    assert Estimate(0.5, 0.0, 3).interval == (0.5, 0.5)


def test_wilcoxon_is_exact_against_all_signs() -> None:
    """The two-sided p-value is twice the share of sign patterns whose sum of ranks is as small."""
    differences = [0.3, -0.1, 0.5, 0.7, 0.2, 0.9, -0.4]
    order = sorted(range(7), key=lambda place: abs(differences[place]))
    ranks = {place: number + 1 for number, place in enumerate(order)}
    negative = sum(ranks[place] for place, value in enumerate(differences) if value < 0)
    sums = [sum(number + 1 for number in range(7) if signs[number]) for signs in itertools.product((0, 1), repeat=7)]
    expected = 2 * sum(total <= negative for total in sums) / 2**7
    assert wilcoxon(differences) == (negative, pytest.approx(expected, rel=1e-12))
    assert wilcoxon([0.0, 0.0]) == (None, 1.0)
    assert wilcoxon([*differences, 0.0]) == wilcoxon(differences)


@pytest.mark.parametrize("count", [1, 5, 20, 50])
def test_wilcoxon_is_scipys_without_ties(count: int) -> None:
    chance = random.Random(count)
    differences = [chance.gauss(0.3, 1) for _ in range(count)]
    found = stats.wilcoxon(differences, method="exact")
    assert wilcoxon(differences) == (pytest.approx(found.statistic), pytest.approx(found.pvalue, rel=1e-12))


def test_wilcoxon_with_ties_is_exact_and_with_many_pairs_is_scipys_approximation() -> None:
    differences = [0.1, 0.1, -0.1, 0.2, 0.2, 0.3, -0.3, 0.4, 0.4]
    ranks = ranks_of([abs(value) for value in differences])
    sums = [sum(map(float.__mul__, ranks, map(float, signs))) for signs in itertools.product((0, 1), repeat=9)]
    negative = sum(rank for rank, value in zip(ranks, differences, strict=True) if value < 0)
    assert wilcoxon(differences) == (negative, pytest.approx(2 * sum(total <= negative for total in sums) / 2**9))
    chance = random.Random(0)
    many = [round(chance.gauss(0.1, 1), 1) for _ in range(400)]
    many = [value for value in many if value]
    found = stats.wilcoxon(many, method="asymptotic")
    assert wilcoxon(many) == (pytest.approx(found.statistic), pytest.approx(found.pvalue, rel=1e-9))


def test_f_and_the_studentized_range_are_scipys() -> None:
    for value, numerator, denominator in itertools.product((0.1, 1.0, 3.3, 40.0), (2, 5), (4, 60)):
        expected = stats.f.sf(value, numerator, denominator)
        assert f_survival(value, numerator, denominator) == pytest.approx(expected, rel=1e-9)
    for groups in (2, 3, 10, 30):
        expected = stats.studentized_range.ppf(0.95, groups, math.inf)
        assert range_quantile(0.95, groups) == pytest.approx(expected, rel=1e-6)


def test_holm_by_hand_and_against_bonferroni() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    chance = random.Random(1)
    values = [chance.random() for _ in range(20)]
    for plain, corrected in zip(values, holm(values), strict=True):
        assert plain <= corrected <= min(1, 20 * plain)


def test_the_nemenyi_quantiles_are_the_published_ones() -> None:
    """Demsar 2006, table 5a: q at level 0.05 for 2 to 10 classifiers."""
    table = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for count, quantile in enumerate(table, start=2):
        assert critical_difference(count, 6, 0.05) / math.sqrt(count * (count + 1) / 36) == pytest.approx(
            quantile, abs=1e-3
        )


def test_friedman_on_the_example_of_demsar() -> None:
    """Demsar 2006, section 3.2.2: 14 data sets, 4 algorithms; mean ranks and critical differences as published."""
    rows = [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
    ranks = [ranks_of(row, largest_first=True) for row in rows]
    means = [statistics.fmean(column) for column in zip(*ranks, strict=True)]
    assert means == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    chi_square, p_value = friedman(rows)
    assert chi_square == pytest.approx(stats.friedmanchisquare(*zip(*rows, strict=True)).statistic)
    assert 0.01 < p_value < 0.05
    assert critical_difference(4, 14, 0.10) == pytest.approx(1.12, abs=0.01)
    assert critical_difference(4, 14, 0.05) == pytest.approx(1.25, abs=0.01)


def test_friedman_at_its_ends() -> None:
    same = [[0.1, 0.2, 0.3]] * 5
    assert friedman(same) == (10.0, pytest.approx(6.0**-4))
    assert friedman([[0.5, 0.5, 0.5]] * 4) == (0.0, 1.0)


def planted(folder: Path, attacks: int = 8, seeds: int = 3) -> Results:
    """Three defenses: ``strong`` leaves far less of every attack than ``weak``; ``twin`` is ``strong`` and noise."""
    chance = random.Random(2)
    values = {}
    for number in range(attacks):
        level = 0.1 + 0.02 * number
        strong = [level + 0.001 * seed for seed in range(seeds)]
        values[f"attack{number}", "strong"] = strong
        values[f"attack{number}", "twin"] = [value + chance.choice((-1, 1)) * 1e-3 for value in strong]
        values[f"attack{number}", "weak"] = [value + 0.4 for value in strong]
    return Results(make_grid(folder / "runs", values))


def test_a_planted_difference_is_found_and_nothing_else(tmp_path: Path) -> None:
    results = planted(tmp_path)
    by_metric = {item.metric.name: item for item in compare(results, ["strong", "weak"], Selection(), Pairs.settings)}
    asr = by_metric[RATE]
    assert asr.pairs == 8 and asr.difference.mean == pytest.approx(0.4) and asr.statistic == 0
    assert asr.p_value == pytest.approx(2 / 2**8) == asr.smallest_p
    assert asr.p_corrected == pytest.approx(2 * asr.p_value)  # two metrics, equal p-values
    assert by_metric["metric:made.acc"].difference.mean == pytest.approx(-0.2)
    (twin,) = compare(results, ["strong", "twin"], ASR, Pairs.settings)
    assert twin.p_corrected > 0.05
    (seeds,) = compare(results, ["strong", "weak"], ASR, Pairs.seeds)
    assert seeds.pairs == 24 and seeds.p_value == pytest.approx(2 / 2**24)


def test_planted_ranks(tmp_path: Path) -> None:
    (ranking,) = rank(planted(tmp_path), "defense", ASR)
    assert ranking.ranks["weak"] == 3.0 and ranking.settings == 8 and list(ranking.ranks)[2] == "weak"
    assert ranking.groups == [[name for name in ranking.ranks if name != "weak"]]
    assert ranking.means["weak"] == pytest.approx(ranking.means["strong"] + 0.4)
    assert ranking.p_value < 1e-3
    (attacks,) = rank(planted(tmp_path / "more", attacks=4), "attack", ASR)
    assert list(attacks.ranks) == [f"attack{number}" for number in range(4)] and attacks.settings == 3


def test_only_what_both_ran_on_is_compared(tmp_path: Path) -> None:
    values = {("a", "x"): [0.1, 0.2, 0.9], ("a", "y"): [0.3, 0.4], ("b", "x"): [0.5], ("c", "y"): [0.5]}
    results = Results(make_grid(tmp_path / "runs", values))
    (found,) = compare(results, ["x", "y"], ASR, Pairs.settings)
    assert (found.pairs, found.first, found.second) == (1, pytest.approx(0.15), pytest.approx(0.35))
    make_run(results.folder, "a", "y", 0, {"repaired": {"asr": 0.3}}, params={"poison_rate": 0.7})
    (again,) = compare(Results(results.folder), ["x", "y"], ASR, Pairs.settings)
    assert again.pairs == 1  # another poison rate is another setting


def test_means_are_over_seeds_first_within_a_seed(tmp_path: Path) -> None:
    values = {("a", "x"): [0.1, 0.3], ("b", "x"): [0.5, 0.9], ("c", "x"): [0.2]}
    results = Results(make_grid(tmp_path / "runs", values))
    summary = summarise(results, ["attack"], ASR)
    assert [group.key for group in summary.groups] == [("a",), ("b",), ("c",)] and summary.row == "final"
    estimate = summary.groups[0].estimates[RATE]
    assert (estimate.mean, estimate.n) == (pytest.approx(0.2), 2)
    expected = stats.t.interval(0.95, 1, 0.2, stats.sem([0.1, 0.3]))
    assert estimate.interval == pytest.approx(expected)
    assert summary.groups[2].estimates[RATE].interval is None
    (group,) = summarise(results, ["defense"], ASR).groups
    mean = statistics.fmean([statistics.fmean([0.1, 0.5, 0.2]), statistics.fmean([0.3, 0.9])])
    assert group.estimates[RATE].mean == pytest.approx(mean) and group.estimates[RATE].n == 2
    assert (
        not group.balanced and "do not have the same number of runs" in summarise(results, ["defense"], ASR).warnings[0]
    )


def test_rows_are_never_averaged_and_a_grid_is_of_the_final_one(tmp_path: Path) -> None:
    results = Results(make_grid(tmp_path / "runs", {("a", "x"): [0.1], ("b", "y"): [0.3]}))
    assert summarise(results, ["attack"], Selection()).by == ("attack", "row")
    (grid,) = pivot(results, "attack", "defense", Selection(metrics=("attack-success",)))
    assert grid.row == "final" and grid.cells["a", "x"].mean == 0.1 and ("a", "y") not in grid.cells
    make_run(results.folder, "a", None, 0, {"backdoored": {"asr": 0.9}})
    (grid,) = pivot(Results(results.folder), "attack", "defense", Selection(metrics=("asr",)))
    assert grid.columns == ["none", "x", "y"] and grid.cells["a", "none"].mean == 0.9


def test_the_latest_run_of_a_seed_counts(tmp_path: Path) -> None:
    for number, value in enumerate((0.1, 0.7)):
        make_run(tmp_path / "runs", "a", "x", 0, {"repaired": {"asr": value}}, started=f"2026-01-0{number + 1}")
    (group,) = summarise(Results(tmp_path / "runs"), ["attack"], ASR).groups
    assert group.estimates[RATE].mean == 0.7 and group.runs == 1


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    results = planted(tmp_path, attacks=2)
    for names, reason in ((["strong"], "two defenses"), (["strong", "wek"], "did you mean 'weak'")):
        with pytest.raises(UserError, match=reason):
            compare(results, names, ASR, Pairs.settings)
    with pytest.raises(UserError, match="did you mean 'defense'"):
        rank(results, "defence", ASR)
    with pytest.raises(UserError, match="ranks need three"):
        rank(results, "attack", ASR)
    with pytest.raises(UserError, match="no metric 'asrr'"):
        summarise(results, ["attack"], Selection(metrics=("asrr",)))
    with pytest.raises(UserError, match="no row 'reparied': did you mean 'repaired'"):
        summarise(results, ["attack"], Selection(rows=("reparied",)))
    with pytest.raises(UserError, match="cannot group by 'value'"):
        summarise(results, ["value"], Selection())
    with pytest.raises(UserError, match="between 0 and 1"):
        Selection(confidence=95)
    make_run(results.folder, "attack0", "weak", 0, {"repaired": {"asr": 0.3}}, name="other-steps")
    record = results.folder / "other-steps" / "run.json"
    record.write_text(record.read_text().replace('"steps": 10', '"steps": 20'))
    with pytest.raises(UserError, match="weak ran in several ways"):
        compare(Results(results.folder), ["strong", "weak"], ASR, Pairs.settings)
