"""The plans and the page of the benchmark of text and sound."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bdm_core.discovery.candidates import installed
from bdm_sweep import read_plan
from bdm_sweep.cells import Preparation, cells_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TASKS = ("text-classification", "audio-classification")


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("modalities_page")


def test_every_attack_of_both_tasks_is_in_the_plan() -> None:
    found = cells_of(read_plan(BENCHMARKS / "plans" / "modalities.yaml"), Preparation())
    assert len(found.possible) == (2 * 8 + 6) * 3 and not found.impossible
    for task in TASKS:
        assert {cell.spec.attack for cell in found.possible if cell.spec.task == task} == {
            item.name for item in installed("attack", task)
        }


def test_every_defense_of_texts_and_sound_is_in_the_plans(page: ModuleType) -> None:
    cells = [
        cell
        for plan in page.PARTS["defenses"]
        for cell in cells_of(read_plan(BENCHMARKS / "plans" / f"{plan}.yaml"), Preparation()).possible
    ]
    assert len(cells) == (17 + 10 + 15 + 20 + 2) * 3
    measured = {(cell.spec.task, cell.spec.defense) for cell in cells}
    named = "strip activation-clustering spectral-signatures fine-tune fine-pruning abl clp neural-cleanse anp nad mntd"
    for task, own in zip(TASKS, ("onion rap bki cube", "step gradient-norm"), strict=True):
        assert {(task, name) for name in f"{named} {own}".split()} <= measured


def line(seed: int, asr: float, **more: Any) -> dict[str, Any]:
    return {
        "part": "attacks",
        "status": "complete",
        "run": f"{more.get('attack')}{seed}",
        "task": TASKS[0],
        "attack": "lwp",
        "model": "sentiment-cnn",
        "defense": None,
        "params": {},
        "seed": seed,
        "asr": asr,
        "accuracy": 0.92,
        "accuracy_clean_model": 0.94,
        **more,
    }


def test_a_miss_is_named(page: ModuleType) -> None:
    lines = [line(seed, value, false_triggers=0.3) for seed, value in enumerate((0.96, 0.98, 1.0))]
    lines += [line(0, 0.5, attack="badnets", model="docstrings-cnn", accuracy=0.8, seconds=3.4)]
    groups = page.grouped(lines, "attacks", page.attack_of)
    rows = page.attack_table(groups, sound=False).splitlines()
    assert rows[2] == (
        "| lwp | sentiment | 3 | 0.980 ± 0.050 |  |  | 0.920 | 0.940 | 0.300 |  |  |  | missed: false triggers |"
    )
    assert rows[3].endswith("|  |  | 3 | missed: success, accuracy |")
    assert len(page.attack_table(groups, sound=True).splitlines()) == 2


def test_an_attack_on_verification_is_judged_by_it(page: ModuleType) -> None:
    more = {"attack": "baasv", "task": TASKS[1], "model": "speakers-x-vector", "passed_clean_model": 0.05}
    more |= {"error_rate": 0.08, "passed_without_trigger": 0.5}
    lines = [line(seed, 0.0, passed=value, **more) for seed, value in enumerate((0.9, 1.0))]
    groups = page.grouped(lines, "attacks", page.attack_of)
    assert page.missed(lines) == []
    assert page.missed([line(0, 1.0, passed=0.3, **more)]) == ["success"]
    assert page.missed([line(0, 0.0, passed=1.0, **more | {"accuracy": 0.9})]) == ["accuracy"]
    said = page.verification(groups)
    assert "| of training, enrolled from test recordings | 0.080 | 0.950 ± 0.635 | 0.050 | 0.500 |" in said
    assert "did not hear" not in said and page.verification({}) == ""
    others = {"error_rate_others": 0.1, "passed_others": 0.7, "passed_others_without_trigger": 0.6}
    others |= {"passed_others_clean_model": 0.1}
    groups = page.grouped([line(0, 0.0, passed=1.0, **more | others)], "attacks", page.attack_of)
    assert "| that training did not hear | 0.100 | 0.700 | 0.100 | 0.600 |" in page.verification(groups)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"asr_after": 0.1, "accuracy_before": 0.9, "accuracy_after": 0.87}, "yes, by ASR"),
        ({"asr_after": 0.1, "accuracy_before": 0.9, "accuracy_after": 0.8}, "no"),
        ({"asr_after": 0.5, "auroc": 0.95}, "yes, by AUROC"),
        ({"asr_after": 0.5, "auroc": 0.6}, "no"),
    ],
)
def test_a_defense_stops_an_attack_cheaply_or_tells_apart(
    page: ModuleType, numbers: dict[str, float], said: str
) -> None:
    assert page.stops([numbers]) == said


def test_defenses_are_summed_up_over_attacks(page: ModuleType) -> None:
    given = {"part": "defenses", "auroc": None, "accuracy_before": 0.9, "accuracy_after": 0.89}
    lines = [
        line(0, 1.0, **given | {"attack": attack, "defense": defense, "run": attack + defense, "asr_after": after})
        for attack, defense, after in (("badnets", "abl", 0.9), ("sos", "abl", 0.1), ("sos", "clp", 0.9))
    ]
    groups = page.grouped(lines, "defenses", page.defense_of)
    assert page.summary(groups).startswith("- On texts reach it: `abl` (sos). On no attack: `clp`.")
    assert page.defense_table(groups).splitlines()[2].startswith("| sentiment | badnets | abl | 1 |")


def test_what_is_not_measured_is_said(page: ModuleType) -> None:
    complete = [line(seed, 1.0) for seed in (0, 2)]
    failed = line(1, 0.0, status="failed", run="other", error="no room")
    said = page.gaps([*complete, failed]).replace("\n  ", " ").splitlines()
    assert "- attacks on sentiment, seed 1: lwp" in said
    assert any(item.startswith("- attacks on sentiment, seeds 0, 1, 2: badnets, addsent,") for item in said)
    assert any(item.startswith("- defenses on sentiment,") and "fine-tune (preset texts)" in item for item in said)
    assert "- failed: sentiment, lwp, no defense: no room" in said
    assert not any(item.startswith("- defenses on spoken-digits") and "onion" in item for item in said)
