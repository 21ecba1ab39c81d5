"""The plans and the page of the benchmark of attacks on image classifiers against defenses."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bdm_core.discovery.candidates import installed
from bdm_sweep import read_plan

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PLAN = BENCHMARKS / "plans" / "classifier-pairs.yaml"
TASK = "image-classification"
FURTHER = {"bad-encoder", "bit-flip", "dynamic-trigger", "imc", "perlin-noise", "trojannet", "ubw"}
"""Attacks that the published table of pairs does not have."""


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("classifier_pairs_page")


def test_the_plan_has_every_attack_and_every_defense_of_the_task() -> None:
    plan = read_plan(PLAN)
    assert {str(attack.name) for attack in plan.attacks} == {item.name for item in installed("attack", TASK)} - FURTHER
    alone = {"retrain"}  # repairs what a detector of rows has flagged, and has nothing to do without one
    assert {str(item.name) for item in plan.defenses} == {item.name for item in installed("defense", TASK)} - alone
    assert len(plan.seeds) >= 2 and plan.combinations() >= 1300


def test_the_plan_of_rates_has_the_same_defenses() -> None:
    plans = [read_plan(BENCHMARKS / "plans" / f"classifier-pairs{end}.yaml") for end in ("", "-rates")]
    assert plans[0].defenses == plans[1].defenses and plans[0].options == plans[1].options
    assert {str(attack.name) for attack in plans[1].attacks} == {"badnets", "blended", "sig", "wanet"}
    assert len(plans[1].attacks) == 12


def line(defense: str, seed: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "part": "classifier-pairs",
        "run": f"{more.get('attack', 'badnets')} {defense} {seed} {more.get('params')}",
        "attack": "badnets",
        "params": {},
        "model": "mnist-cnn",
        "defense": defense,
        "seed": seed,
        "status": "complete",
        "access": ["weights"],
        "backdoored": {"accuracy": 0.98, "asr": 1.0},
        "cost": {"seconds": 1.0},
        **more,
    }


def repaired(asr: float, accuracy: float, der: float) -> dict[str, float]:
    return {"asr": asr, "accuracy": accuracy, "recovered_accuracy": 0.9, "der": der}


def test_the_interval_is_over_seeds_not_over_attacks(page: ModuleType) -> None:
    lines = [
        line("a", seed, attack=attack, repaired=repaired(asr, 0.97, 0.9))
        for seed, attack, asr in ((0, "badnets", 0.1), (0, "blended", 0.3), (1, "badnets", 0.2), (1, "blended", 0.6))
    ]
    found = page.estimate(lines, page.after("asr"))
    assert found.n == 2 and found.mean == pytest.approx(0.3)
    assert found.half_width == pytest.approx(12.706 * 0.2 / 2, rel=1e-3)  # t(.975, 1) s / sqrt(2), s = .2 / sqrt(2)


def test_ranks_are_within_an_attack_and_ties_share_theirs(page: ModuleType) -> None:
    lines = [line(name, repaired=repaired(0.0, 0.9, der)) for name, der in (("a", 0.9), ("b", 0.9), ("c", 0.5))]
    assert page.ranks(lines, page.after("der")) == {"a": 1.5, "b": 1.5, "c": 3.0}


@pytest.mark.parametrize(
    ("asr", "accuracy", "auroc", "expected"),
    [(0.1, 0.93, 0.5, True), (0.11, 0.98, 0.5, False), (0.0, 0.92, 0.5, False), (1.0, 0.98, 0.9, True)],
)
def test_a_repair_reaches_its_aim_by_both_numbers_and_a_detector_by_its_area(
    page: ModuleType, asr: float, accuracy: float, auroc: float, expected: bool
) -> None:
    given = line("a", repaired=repaired(asr, accuracy, 0.9))
    given["backdoored"]["auroc"] = auroc
    assert page.reaches(given) is expected


def test_a_filter_that_turns_clean_inputs_away_reaches_nothing(page: ModuleType) -> None:
    passes = {"asr": 0.0, "accuracy": 0.98, "der": 1.0, "rejected_clean": 0.0, "rejected_triggered": 1.0}
    assert page.reaches(line("a", purified=passes)) and page.effectiveness(line("a", purified=passes)) == 1.0
    most = line("a", purified={**passes, "rejected_clean": 0.9})
    assert not page.reaches(most)
    assert page.effectiveness(most) == pytest.approx((1 - (0.98 - 0.098) + 1) / 2)


def test_the_page_says_how_many_pairs_are_measured_and_which_failed(
    page: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(page, "SPEED", tmp_path / "none")
    again = {**line("b"), "status": "failed", "error": "no such layer"}
    lines = [again, line("a", repaired=repaired(0.0, 0.97, 0.98)), line("c", params={"poison_rate": 0.0})]
    text = page.write_page(lines).read_text()
    assert (
        f"| {read_plan(PLAN).combinations()} | 2 | 1 |" in text
        and "| badnets, mnist-5k | b | 0 | no such layer |" in text
    )
    assert "no attack, mnist-5k" in text and "| a | badnets, mnist-5k (seed 0) |" in text
    later = {**again, "status": "complete", "error": ""}
    later.pop("error")
    assert "No pair failed." in page.write_page([*lines, later]).read_text()
    assert page.write_page([]).read_text().count("Not measured.") == 4
