"""The plan and the statistics of the benchmark of noise as a factor."""

from __future__ import annotations

import importlib
import itertools
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


@pytest.mark.parametrize(("name", "attacks"), [("practical-factors", 3), ("practical-factors-images", 1)])
def test_the_cells_of_the_plans_can_be(name: str, attacks: int) -> None:
    found = cells_of(read_plan(BENCHMARKS / "plans" / f"{name}.yaml"), Preparation())
    assert len(found.possible) == attacks * 7 * 3 * 5 and not found.impossible
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


def test_noise_is_compared_with_none_of_the_same_cell(script: ModuleType) -> None:
    lines = [
        {"attack": "a", "defense": "x", "poison_rate": 0.1, "row": "final", "metric": "asr", "value": value, **noise}
        for noise, values in (
            ({DATA: None, LABELS: "none"}, (0.1, 0.2)),
            ({DATA: "character", LABELS: "none"}, (0.3, 0.4)),
            ({DATA: float("nan"), LABELS: "uniform"}, (0.5,)),
        )
        for value in values
    ]
    lines.append({**lines[2], "defense": "y"})
    (found,) = script.comparisons(lines)
    assert found.noise == "data (character)" and found.effect == 1 and found.where[2] == "x"
    assert "| 0.150 (2) | 0.350 (2) | 4 |" in script.table([found])
