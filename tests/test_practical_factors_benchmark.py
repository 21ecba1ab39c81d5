"""The plan and the statistics of the benchmark of noise as a factor."""

from __future__ import annotations

import importlib
import itertools
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from bdm_sweep import read_plan
from bdm_sweep.cells import Preparation, cells_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
DATA, LABELS = "kit:classification.data_noise", "kit:classification.label_noise"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("practical_factors")


@pytest.mark.parametrize(("name", "attacks"), [("practical-factors", 1), ("practical-factors-images", 3)])
def test_the_cells_of_the_plans_can_be(name: str, attacks: int) -> None:
    found = cells_of(read_plan(BENCHMARKS / "plans" / f"{name}.yaml"), Preparation())
    assert len(found.possible) == attacks * 7 * 3 * 7 and not found.impossible
    noise = {
        (params.get("data_noise"), params.get("label_noise"))
        for params in (cell.spec.params.get("kit:classification", {}) for cell in found.possible)
    }
    assert len(noise) == 3


def by_hand(plain: list[float], noisy: list[float]) -> tuple[float, float]:
    """U by counting pairs, and its exact two-sided p-value by all ways to draw the noisy sample."""

    def pairs(sample: list[float], rest: list[float]) -> float:
        return sum((a > b) + (a == b) / 2 for a in sample for b in rest)

    every = plain + noisy
    draws = [set(draw) for draw in itertools.combinations(range(len(every)), len(noisy))]
    counts = [pairs([every[i] for i in draw], [every[i] for i in range(len(every)) if i not in draw]) for draw in draws]
    found, middle = pairs(noisy, plain), len(plain) * len(noisy) / 2
    return found, sum(abs(count - middle) >= abs(found - middle) for count in counts) / len(counts)


def test_the_test_is_exact(script: ModuleType) -> None:
    plain, noisy = [0.91, 0.93, 0.9, 0.95], [0.86, 0.915, 0.8, 0.85, 0.7]
    found = script.compared(("a",), "data", plain, noisy)
    assert (found.statistic, pytest.approx(found.p_value)) == by_hand(plain, noisy)
    larger, smaller = (sum((a > b) if up else (a < b) for a in noisy for b in plain) for up in (True, False))
    assert found.effect == pytest.approx((larger - smaller) / 20)


def test_the_test_is_exact_with_ties(script: ModuleType) -> None:
    plain, noisy = [0.1, 0.2, 0.2, 0.3], [0.2, 0.3, 0.3, 0.3]
    found = script.compared(("a",), "data", plain, noisy)
    assert (found.statistic, pytest.approx(found.p_value)) == by_hand(plain, noisy)


def line(**given: object) -> dict[str, object]:
    """One number of a run."""
    standard = {"model": "m", "attack": "a", "defense": "x", "poison_rate": 0.1, "row": "final"}
    return {**standard, "metric": "metric:accuracy.asr", "seed": 0, DATA: None, LABELS: "none", **given}


def test_noise_is_compared_with_none_of_the_same_cell(script: ModuleType) -> None:
    plain = [line(seed=seed, value=value) for seed, value in enumerate((0.1, 0.2))]
    noisy = [line(seed=seed, value=value, **{DATA: "character"}) for seed, value in enumerate((0.3, 0.4))]
    alone = line(value=0.5, **{DATA: float("nan"), LABELS: "uniform"})
    other = line(value=0.3, defense="y", **{DATA: "character"})
    (found,) = script.comparisons(script.samples_of([*plain, *noisy, alone, other]))
    assert found.noise == "data (character)" and found.effect == 1
    assert found.where == ("m", "a", "0.1", "x", "final", "asr")


def test_the_backdoored_model_stands_once(script: ModuleType) -> None:
    lines = [
        line(defense=defense, row="backdoored", metric=f"metric:{metric}", value=0.5)
        for defense in ("x", "y")
        for metric in ("accuracy.asr", "detection.auroc")
    ]
    named = [where[3] for where in script.samples_of(lines)]
    assert sorted(named) == ["(none)", "x", "y"]


def test_the_page_answers_the_question(script: ModuleType, tmp_path: Path) -> None:
    lines = [
        line(seed=seed, value=value + seed / 1000, **noise)
        for noise, value in (({}, 0.05), ({DATA: "gaussian"}, 0.05), ({LABELS: "uniform"}, 0.6))
        for seed in range(7)
    ]
    page = importlib.import_module("practical_factors_page")
    found = script.comparisons(script.samples_of(lines))
    text = page.write_page(found, tmp_path / "page.md").read_text(encoding="utf-8")
    assert "Under noisy data, keeps working:** `x`" in text
    assert "Under wrong labels, stops working:** `x` (m, 10%: 0.05 to 0.60, U 49, p 0.001)" in text
    assert "differs significantly in 1 cases: higher in 1, lower in 0" in " ".join(text.split())
    assert "| m | 10% | x | label (uniform) | 0.053 (7) | 0.603 (7) | 49 | 0.0006 | 0.001 | +1.00 |" in text


def test_a_mean_that_crosses_the_line_is_no_difference_where_the_test_finds_none(script: ModuleType) -> None:
    page = importlib.import_module("practical_factors_page")
    (found,) = script.comparisons(
        script.samples_of(
            [
                line(seed=seed, value=value + seed / 100, **noise)
                for noise, value in (({}, 0.1), ({DATA: "gaussian"}, 0.13))
                for seed in range(7)
            ]
        )
    )
    assert page.answer(found, 1.0) == page.UNSHOWN and page.answer(found, 0.01).startswith("stops working")
    other = replace(found, plain=found.noisy, noisy=found.plain)
    assert page.answer(other, 1.0) == page.UNSHOWN_BELOW
    assert page.answer(other, 0.01).startswith("works under noise only")
