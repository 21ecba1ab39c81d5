"""The plans and the numbers of the benchmark of attacks on image classifiers against defenses."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pairs_lines import line, repaired

from bdm_core.discovery.candidates import find, installed
from bdm_core.plugin import Defense
from bdm_sweep import read_plan

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TASK = "image-classification"
NO_ROWS = {"bad-encoder", "bit-flip", "trojannet"}
"""Attacks that poison no training row."""
ALONE = {"retrain"}
"""Repairs what a detector of rows has flagged, and has nothing to do without one."""
ENDS = ("", "-rates", "-third-seed", "-clean", "-no-rows", "-deep", "-longer")
PLANS = {end: read_plan(BENCHMARKS / "plans" / f"classifier-pairs{end}.yaml") for end in ENDS}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name="numbers": importlib.import_module(f"classifier_pairs_{name}".rstrip("_"))


def names_of(methods: Sequence[Any]) -> set[str]:
    return {str(item.name) for item in methods}


def defense(name: str) -> Defense:
    found = find("defense", name, TASK).load()
    assert isinstance(found, Defense)
    return found


def test_the_plans_have_every_attack_and_every_defense_of_the_task() -> None:
    attacks = {item.name for item in installed("attack", TASK)}
    defenses = {item.name for item in installed("defense", TASK)} - ALONE
    assert names_of(PLANS[""].attacks) == attacks - NO_ROWS and names_of(PLANS["-no-rows"].attacks) == NO_ROWS
    assert names_of(PLANS[""].defenses) == defenses
    blind = {name for name in defenses if not defense(name).access & {"training", "training-data"}}
    assert names_of(PLANS["-no-rows"].defenses) == blind
    assert len(PLANS[""].seeds) >= 2 and PLANS[""].combinations() >= 1300


def test_the_page_knows_the_plans(load: Any) -> None:
    assert set(load("state").PARTS) == {f"classifier-pairs{end}" for end in PLANS}
    assert {path.stem for path in (BENCHMARKS / "plans").glob("classifier-pairs*.yaml")} == set(load("state").PARTS)
    assert set(PLANS["-deep"].models) == set(load("making").MODELS) < set(PLANS["-longer"].models)


def test_the_plan_of_rates_has_the_same_defenses() -> None:
    whole, rates = PLANS[""], PLANS["-rates"]
    assert whole.defenses == rates.defenses and whole.options == rates.options
    assert names_of(rates.attacks) == {"badnets", "blended", "sig", "wanet"} and len(rates.attacks) == 12


def test_further_clean_models_are_for_the_detectors_of_models() -> None:
    clean = PLANS["-clean"]
    assert all(item.params == {"poison_rate": 0.0} for item in clean.attacks)
    judging = {name for name in names_of(PLANS[""].defenses) if defense(name).level == "model"}
    assert names_of(clean.defenses) <= judging and not set(clean.seeds) & set(PLANS[""].seeds)


def test_the_interval_is_over_seeds_not_over_attacks(load: Any) -> None:
    lines = [
        line("a", seed, attack=attack, repaired=repaired(asr, 0.97))
        for seed, attack, asr in ((0, "badnets", 0.1), (0, "blended", 0.3), (1, "badnets", 0.2), (1, "blended", 0.6))
    ]
    found = load().estimate(lines, load().after("asr"))
    assert found.n == 2 and found.mean == pytest.approx(0.3)
    assert found.half_width == pytest.approx(12.706 * 0.2 / 2, rel=1e-3)  # t(.975, 1) s / sqrt(2), s = .2 / sqrt(2)


def test_ranks_are_within_an_attack_and_ties_share_theirs(load: Any) -> None:
    lines = [line(name, repaired=repaired(asr, 0.9)) for name, asr in (("a", 0.1), ("b", 0.1), ("c", 0.5))]
    assert load().ranks(lines, load().effectiveness) == {"a": 1.5, "b": 1.5, "c": 3.0}


@pytest.mark.parametrize(
    ("asr", "accuracy", "auroc", "expected"),
    [(0.1, 0.93, 0.5, True), (0.11, 0.98, 0.5, False), (0.0, 0.92, 0.5, False), (1.0, 0.98, 0.9, True)],
)
def test_a_repair_reaches_its_aim_by_both_numbers_and_a_detector_by_its_area(
    load: Any, asr: float, accuracy: float, auroc: float, expected: bool
) -> None:
    given = line("a", repaired=repaired(asr, accuracy))
    given["backdoored"]["auroc"] = auroc
    assert load().reaches(given) is expected


def test_a_filter_that_turns_clean_inputs_away_reaches_nothing(load: Any) -> None:
    passes = {"asr": 0.0, "accuracy": 0.98, "rejected_clean": 0.0, "rejected_triggered": 1.0}
    assert load().reaches(line("a", purified=passes)) and load().effectiveness(line("a", purified=passes)) == 1.0
    most = line("a", purified={**passes, "rejected_clean": 0.9})
    assert not load().reaches(most)
    assert load().effectiveness(most) == pytest.approx((1 - (0.98 - 0.098) + 1) / 2)


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        ("refused", "no", "refused"),
        ("failed", "defense:b works on batch normalisations and needs at least 6 of them", "refused"),
        ("failed", "defense:b failed: needs at least 2", "failed"),
        ("failed", "no such layer", "failed"),
    ],
)
def test_a_refusal_is_no_failure(load: Any, status: str, error: str, expected: str) -> None:
    assert load().status_of({**line("b"), "status": status, "error": error}) == expected


def score(name: str, seed: int, value: float, **more: Any) -> dict[str, Any]:
    made = line(name, seed, **more)
    made["backdoored"] = {**made["backdoored"], "score": value, "verdict": more.get("says", 1.0)}
    return made


def test_the_area_of_a_detector_of_models_is_over_models(load: Any) -> None:
    models = load("models")
    lines = [score("judge", seed, 2.0 + seed, clean={"score": seed}) for seed in range(2)]
    lines += [score("judge", seed, 1.0 + seed, params={"poison_rate": 0.0}) for seed in range(4)]
    bad, good = models.backdoored(lines), models.clean(lines)
    assert sorted(bad.values()) == [2.0, 3.0]
    assert sorted(good.values()) == [0.5, 1.0, 2.0, 3.0, 4.0], "the model that attacks start from counts once"
    assert models.judges(lines) == ["judge"] and models.verdict(bad, good) == "too few models"
    many = {str(number): 9.0 for number in range(models.LEAST_BACKDOORED)}
    assert models.verdict(many, good) == "reached" and models.verdict(dict.fromkeys(many, 0.0), good) == "not reached"
    assert models.separating(lines, "badnets, mnist-5k") == ([], 1)
    weak = score("judge", 5, 9.0)
    weak["backdoored"]["asr"] = 0.5
    assert models.backdoored([*lines, weak]) == bad, "an attack that does not work leaves no backdoor"
    assert "| judge | mnist-5k | 2 |" in models.table_of_models(lines)


def test_a_detector_without_a_verdict_cannot_tell(load: Any) -> None:
    given = line("judge")
    given["backdoored"]["score"] = 1.0
    assert load("models").says([given, score("judge", 1, 1.0)], "backdoored") == "1 / 0 / 1"


def test_each_attack_has_what_stops_it_or_says_that_nothing_does(load: Any) -> None:
    coverage = load("coverage")
    lines = [line("a", repaired=repaired(0.0, 0.97)), line("b", repaired=repaired(0.5, 0.97))]
    lines += [line("random-filter", repaired=repaired(0.0, 0.97)), line("judge", backdoored={"asr": 1.0, "score": 3.0})]
    lines += [line("b", attack="blended", repaired=repaired(0.5, 0.97))]
    text = coverage.by_attack(lines)
    assert "| badnets, mnist-5k | 1.000 | a (1 of 2) | none measured |" in text
    assert "| blended, mnist-5k | 1.000 | none of 1 measured |" in text
    assert "nothing that was measured: blended, mnist-5k." in text
    words = coverage.by_defense(lines)
    assert "| a | 1 | 1 | 1 | badnets 1/1 |" in words and "any attack so far: b." in words.replace("\n", " ")


def test_an_aim_is_reached_on_average_only_over_enough_seeds(load: Any) -> None:
    coverage = load("coverage")
    lines = [line("a", seed, repaired=repaired(asr, 0.97)) for seed, asr in enumerate((0.02, 0.03, 0.2))]
    assert coverage.reached_on_average(lines) and not coverage.reached_on_average(lines[:2])
    text = coverage.by_defense(lines).replace("\n", " ")
    assert "In the mean over 3 seeds or more 1 reach it" in text
    assert "| a | 0 | 1 | 1 | badnets 2/3 |" in text and "attack, 0 in every measured seed" in text


def test_the_page_says_how_many_pairs_are_measured_refused_and_failed(
    load: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page, state = load("page"), load("state")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(state, "SPEED", tmp_path / "none")
    again = {**line("b"), "status": "failed", "error": "no such layer"}
    refused = [{**line("d", seed), "status": "refused", "error": "needs depth"} for seed in (0, 1)]
    lines = [again, *refused, line("a", repaired=repaired(0.0, 0.97)), line("c", params={"poison_rate": 0.0})]
    text = page.write_page(lines).read_text()
    assert f"| {PLANS[''].combinations()} | 2 | 2 | 1 |" in text
    assert "| badnets, mnist-5k | b (0) | no such layer |" in text and "| d | mnist-5k | 2 | needs depth |" in text
    assert "no attack, mnist-5k" in text and "| a | 1 | 1 | 1 | badnets 1/1 |" in text
    later = {name: value for name, value in again.items() if name != "error"} | {"status": "complete"}
    assert "No pair failed." in page.write_page([*lines, later]).read_text()
    assert page.write_page([]).read_text().count("Not measured.") >= 4


def test_boards_have_what_a_clean_model_loses_and_what_a_perfect_filter_gives(load: Any) -> None:
    page = load("page")
    clean = line("a", params={"poison_rate": 0.0}, backdoored={"accuracy": 0.98}, repaired={"accuracy": 0.95})
    text = page.board([line("a", repaired=repaired(0.0, 0.97))], load("numbers").effectiveness, page.REPAIR, [clean])
    assert "| ACC lost on a clean model |" in text and "| 0.900 | 0.030 | 1 of 1 |" in text
    detected = line("d", clean={"asr": 0.0, "accuracy": 0.98}, backdoored={"accuracy": 0.98, "asr": 1.0, "auroc": 0.5})
    assert page.perfect_filter([detected]) == ["1.000", "0.000", "0.980"]
    assert "| a | 1 | 0.950 | 0.030 |" in page.attack_tables([clean])


def test_speed_is_kept_for_each_number_of_workers(load: Any, tmp_path: Path) -> None:
    state, path = load("state"), tmp_path / "speed.json"
    path.write_text(json.dumps({"pairs": 30, "failed": 1, "seconds": 360.0}))
    assert state.read_speed(path) == {"1": {"pairs": 30, "failed": 1, "seconds": 360.0}}
    assert "300 an hour" in state.said_speed(state.read_speed(path))
    shared = [line("a", cost={"seconds": 10.0, "processor_seconds": 4.0}), line("a", cost={"seconds": 5.0})]
    assert state.processor_share(shared) == pytest.approx(0.4)


def test_a_shared_meta_classifier_keeps_the_pair_s_name(load: Any, tmp_path: Path) -> None:
    making, cells = load("making"), importlib.import_module("bdm_sweep.cells")
    preparation = cells.Preparation()
    mntd = [item for item in PLANS[""].defenses if item.name == making.SHARED]
    plan = PLANS[""].model_copy(update={"attacks": PLANS[""].attacks[:1], "defenses": mntd, "seeds": [0]})
    planned = cells.cells_of(plan, preparation).possible[0]
    swept = making.given_meta(plan, making.Meta(tmp_path, 9.0))
    (name, cell) = next(iter(making.planned_by_swept(plan, swept, preparation).items()))
    assert cell.name == planned.name != name and "defense:mntd" not in cell.spec.params
    assert swept.defenses[0].params == {"meta_classifier": str(tmp_path)}


def test_attacks_go_together_of_which_the_same_is_missing(load: Any) -> None:
    cells, plan, preparation = (
        load("cells"),
        PLANS["-third-seed"],
        importlib.import_module("bdm_sweep.cells").Preparation(),
    )
    few = [item for item in plan.defenses if item.name in ("clp", "mntd", "ibd-psc")]
    plan = plan.model_copy(update={"attacks": plan.attacks[:3], "defenses": few})
    wanted = [(2, attack) for attack in plan.attacks]

    def names(known: set[str], most: int) -> list[list[str]]:
        return [[item.name for item in group] for _, group in cells.grouped(plan, wanted, known, preparation, most)]

    assert names(set(), 2) == [["badnets", "blended"], ["wanet"]] and names(set(), 1) == [
        ["badnets"],
        ["blended"],
        ["wanet"],
    ]
    found = importlib.import_module("bdm_sweep.cells").cells_of(plan, preparation)
    of_blended = {cell.name for cell in found.possible if cell.spec.attack == "blended"}
    one = next(cell.name for cell in found.possible if cell.spec.attack == "badnets")
    assert names({one}, 3) == [["badnets"], ["blended", "wanet"]]
    impossible = {cell.name for cell, _ in found.impossible}
    assert names(of_blended | impossible, 3) == [["badnets", "wanet"]]
    assert cells.missing(plan, wanted, set(), preparation) == [("mnist-cnn", 2)]
    assert cells.missing(plan, wanted, {cell.name for cell in found.possible}, preparation) == []


def test_the_page_has_the_times_beside_the_released_loops(load: Any, monkeypatch: Any, tmp_path: Path) -> None:
    state = load("state")
    one = {"model": "mnist-cnn", "method": "anp", "steps": 60, "seconds": 2.0, "seconds_released": 2.5, "ratio": 0.8}
    (tmp_path / "loops.json").write_text(json.dumps([one]))
    monkeypatch.setattr(state, "LOOPS", tmp_path / "loops.json")
    assert "| mnist-cnn | anp | 60 | 2.00 | 2.50 | 0.80 |" in state.loops()
