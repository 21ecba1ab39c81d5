"""What the benchmark of pairs says of published orderings."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pairs_lines import line, repaired

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("classifier_pairs_orderings")


def pairs(gains: Sequence[float], *, one: str = "i-bau", other: str = "fine-tune") -> list[dict[str, Any]]:
    board = load_board()
    found = []
    for attack, gain in zip(board, gains, strict=False):
        found += [line(one, attack=attack, repaired=repaired(0.5 - gain, 0.98))]
        found += [line(other, attack=attack, repaired=repaired(0.5, 0.98))]
    return found


def load_board() -> tuple[str, ...]:
    return importlib.import_module("classifier_pairs_orderings").BOARD


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.3, 0.4), "too few pairs"),
        ((0.3, 0.4, 0.35, 0.3), "holds"),
        ((-0.3, -0.4, -0.35, -0.3), "does not hold"),
        ((-0.3, 0.4, -0.35, 0.3), "undecided"),
    ],
)
def test_an_ordering_is_decided_by_the_interval_over_attacks(module: Any, gains: Sequence[float], verdict: str) -> None:
    found = module.better("i-bau", "fine-tune", module.FIVE)(pairs(gains))
    assert found.verdict == verdict and found.pairs == 2 * len(gains)


def test_orderings_of_rates_and_of_what_stays(module: Any) -> None:
    lines = []
    for attack, asr in zip(load_board(), (0.10, 0.11, 0.12), strict=False):
        lines.append(line("ep", attack=attack, repaired=repaired(asr, 0.98)))
        lines.append(line("ep", attack=attack, params={"poison_rate": 0.1}, repaired=repaired(asr + 0.01, 0.98)))
    assert module.change("ep", module.TEN, module.FIVE, 0)(lines).verdict == "holds"
    assert module.change("ep", module.TEN, module.FIVE, 1)(lines).verdict != "holds"
    assert module.rate_of(line("a", params={"target_class_share": 0.5})) == module.FIVE
    assert len(module.PUBLISHED) >= 8
    assert module.orderings([]).count("| too few pairs |") == len(module.PUBLISHED)


def test_an_ordering_over_two_attacks_falls_with_the_first_that_is_against_it(module: Any) -> None:
    share = {"target_class_share": 0.5}
    sig = line("ep", attack="sig", params=share, repaired=repaired(0.5, 0.97))
    weak = line("ep", attack="label-consistent", params=share, backdoored={"accuracy": 0.98, "asr": 0.7})
    stopped, left = (module.on_each("ep", ("sig", "label-consistent"), gone=gone) for gone in (True, False))
    assert stopped([sig, weak]).verdict == "does not hold" and left([sig, weak]).verdict == "does not hold"
    gone = {**sig, "repaired": repaired(0.1, 0.97)}
    assert stopped([gone, weak]).verdict == "too few pairs" and "0.70 undefended" in stopped([gone, weak]).here
    both = [gone, {**weak, "backdoored": {"accuracy": 0.98, "asr": 0.9}, "repaired": repaired(0.0, 0.97)}]
    assert stopped(both).verdict == "holds"
