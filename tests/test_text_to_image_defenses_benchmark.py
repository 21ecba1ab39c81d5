"""The plan, the lines and the page of the benchmark of text-to-image attacks against defenses."""

from __future__ import annotations

import importlib
import json
import random
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import pytest

from bdm_core.api import run
from bdm_core.discovery.candidates import find, installed
from bdm_sweep import read_plan
from bdm_sweep.cells import Preparation, cells_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PLAN = BENCHMARKS / "plans" / "text-to-image-defenses.yaml"
TASK = "text-to-image"
WORDLESS = {"villan-image", "bibaddiff"}
"""Attacks without a trigger in the words of the prompt."""


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def page() -> ModuleType:
    return importlib.import_module("text_to_image_defenses_page")


@pytest.fixture
def aims() -> ModuleType:
    return importlib.import_module("text_to_image_aims")


@pytest.fixture
def pairs() -> ModuleType:
    return importlib.import_module("text_to_image_pairs")


@pytest.fixture
def benchmark_script() -> ModuleType:
    return importlib.import_module("text_to_image_defenses")


def test_the_plan_has_every_attack_and_mode_and_every_defense() -> None:
    plan = read_plan(PLAN)
    assert {str(item.name) for item in plan.attacks} == {item.name for item in installed("attack", TASK)}
    assert {str(item.name) for item in plan.defenses} == {item.name for item in installed("defense", TASK)}
    for attack in ("rickrolling", "badt2i", "paas"):
        found = next(item for item in installed("attack", TASK) if item.name == attack)
        modes = set(get_args(found.load().Params.model_fields["mode"].annotation)) - {"removal"}
        assert {item.params["mode"] for item in plan.attacks if item.name == attack} == modes
    assert plan.seeds == [0, 1, 2] and plan.options["scan_clean"]


def test_what_the_plan_leaves_out_does_not_apply(pairs: ModuleType) -> None:
    plan = read_plan(PLAN)
    kept = {(case.attack, name.partition(" ")[0]) for case, name in pairs.planned(plan)}
    everything = set(product((str(item.name) for item in plan.attacks), (str(item.name) for item in plan.defenses)))
    in_latents = {"elijah", "terd"}
    levels = {item.name: getattr(item.load(), "level", None) for item in installed("defense", TASK)}
    of_prompts = {name for name, level in levels.items() if level == "input"}
    assert everything - kept == {(attack, name) for attack, name in everything if name in in_latents} - {
        ("villan-image", name) for name in in_latents
    } | {(attack, name) for attack, name in everything if attack in WORDLESS and name in of_prompts}


def test_a_part_of_the_plan_has_its_rules_and_its_cells_have_the_same_names(benchmark_script: ModuleType) -> None:
    plan = benchmark_script.narrowed(read_plan(PLAN), ["eviledit", "villan-image"], ["none", "stedf", "terd"], [1])
    cells = cells_of(plan, Preparation()).possible
    found = {(cell.spec.attack, cell.spec.defense) for cell in cells}
    assert found == {("eviledit", "none"), ("eviledit", "stedf"), ("villan-image", "none"), ("villan-image", "terd")}
    own = [cell for cell in cells if cell.spec.attack == "eviledit"]
    written_out = benchmark_script.expanded(plan, own)
    assert not written_out.overrides and not written_out.exclude
    assert written_out.defenses[1].params == {"triggers": ["nice"]}
    again = cells_of(written_out, Preparation()).possible
    assert [cell.name for cell in again] == [cell.name for cell in own]


def test_separation_and_controls_by_hand() -> None:
    controls = importlib.import_module("text_to_image_controls")
    clean = [float(number) for number in range(40)]  # two of forty may be above: those from 38 on
    found = controls.separation([37.0, 37.5, 38.5, 100.0], clean)
    assert found == {"auroc": round((37.5 + 38 + 39 + 40) / 160, 4), "tpr_at_5": 0.75}
    chosen = controls.nearest_in_length([5, 9, 9], [3, 5, 8, 5, 20], random.Random(0))
    assert chosen[0] in (1, 3) and chosen[1] == 2 and chosen[2] in (1, 3) and len(set(chosen)) == 3
    assert len(controls.nearest_in_length([5, 5], [4], random.Random(0))) == 1


def test_controls_are_clean_captions_on_the_scale_of_the_detection(tmp_path: Path) -> None:
    controls = importlib.import_module("text_to_image_controls")
    kit = {"most_images": 60, "prompts": 3, "steps": 2}
    detector = {"clean_prompts": 12}
    view = run(
        out=tmp_path,
        task=TASK,
        attack="eviledit",
        detect="daa",
        model="tiny",
        device="cpu",
        metrics=["detection"],
        data_share=0.5,
        params={"kit:text-to-image": kit, "defense:daa": detector, "attack:eviledit": {"preserved_captions": 8}},
    )
    defense = find("defense", "daa", TASK).load()
    record = controls.record_of(view.result_of("detection"))
    judged = [view.result_of("backdoored model").model, view.result_of("defender's data"), view.result_of("detection")]
    scores = controls.judge(defense, detector, *judged, record["prompts"])
    assert scores == pytest.approx(record["scores"], rel=1e-5)
    bad, good = controls.scores_of(view, "detection")
    assert len(bad) == len(good) == 3 and sorted(bad + good) == sorted(record["scores"])
    found = controls.length_matched(defense, detector, view)
    assert found["prompts"] == 3 and 0 <= found["auroc"] <= 1 and 0 <= found["flagged"] <= 1
    assert found["tokens"]["triggered"] == pytest.approx(found["tokens"]["controls"], abs=2)


def test_a_line_has_the_rows_of_the_results(benchmark_script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [
        ("clean", "metric:attributes.acc", 1.0),
        ("clean under trigger", "metric:attributes.asr", 0.0),
        ("backdoored", "metric:attributes.asr", 0.9),
        ("backdoored", "metric:attributes.asr_word", 0.8),
        ("backdoored", "metric:frechet.attributes", 13.0),
        ("backdoored", "metric:detection.auroc", 0.7),
        ("purified", "metric:attributes.acc", 0.95),
        ("purified", "metric:detection.rejected_clean", 0.05),
        ("purified", "metric:cost.seconds", 3.0),
    ]
    detection = SimpleNamespace(level="input", scores=[0.0] * 6, clean_samples=4)
    view = SimpleNamespace(
        results=[{"row": row, "metric": metric, "value": value} for row, metric, value in results],
        stages=[{"stage": "detect", "label": "detection", "key": "k"}],
        stage=lambda label: {"key": "k"},
        result_of=lambda label: detection,
    )
    spec = {"attack": "eviledit", "defense": "daa", "seed": 2, "task": TASK}
    params = {"defense:daa": {"method": "system"}}
    cell = SimpleNamespace(spec=SimpleNamespace(params=params, **spec), name="run")
    monkeypatch.setattr(benchmark_script, "scores_of", lambda view, label: ([1.0], [0.0]))
    monkeypatch.setattr(benchmark_script, "length_matched", lambda *_: None)
    clock = SimpleNamespace(seconds={"k": 5.0})
    line = json.loads(json.dumps(benchmark_script.line_of(cell, view, clock)))
    assert line["clean"] == {"acc": 1.0, "asr": 0.0, "tpr_at_5": 1.0} and line["level"] == "input"
    numbers = {"asr": 0.9, "asr_word": 0.8, "auroc": 0.7, "frechet": 13.0, "tpr_at_5": 1.0}
    assert line["backdoored"] == numbers and line["purified"] == {"acc": 0.95, "rejected_clean": 0.05}
    assert line["cost"]["seconds_a_prompt"] == 0.5 and line["cost"]["processor_seconds"] == 5.0
    assert line["cost"]["seconds"] == 3.0 and line["defense_params"] == {"method": "system"}


def line(defense: str = "daa", seed: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "run": f"{defense} {seed} {more.get('defense_params')}",
        "attack": "eviledit",
        "params": {},
        "defense": defense,
        "defense_params": {},
        "seed": seed,
        "status": "complete",
        "level": "input",
        "clean": {"acc": 1.0, "asr": 0.0},
        "backdoored": {"acc": 1.0, "asr": 0.95},
        "cost": {"processor_seconds": 1.0},
        **more,
    }


def test_the_last_line_of_a_pair_counts_and_an_attack_takes_from_half_on(pairs: ModuleType) -> None:
    failed = {**line(), "status": "failed", "error": "no"}
    assert pairs.latest([failed, line(seed=1), line()]) == [line(), line(seed=1)]
    weak = line("none", seed=1, backdoored={"acc": 1.0, "asr": 0.49})
    lines = [line("none"), line(), weak, line(seed=1), line(seed=2)]
    assert pairs.taken(lines) == {("eviledit", 0)} and pairs.of_taken(lines) == lines[:2]


@pytest.mark.parametrize(
    ("asr", "acc", "rejected", "expected"), [(0.1, 0.95, 0.0, True), (0.2, 1.0, 0.0, False), (0.0, 1.0, 0.06, False)]
)
def test_a_clean_prompt_that_is_turned_away_has_no_picture(
    aims: ModuleType, asr: float, acc: float, rejected: float, expected: bool
) -> None:
    given = line(purified={"asr": asr, "acc": acc, "rejected_clean": rejected})
    assert aims.reaches(given, "purified") is expected


def test_the_page_says_what_is_measured_what_is_not_and_what_failed(
    page: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    judged = {"acc": 1.0, "asr": 0.95, "asr_word": 0.5, "auroc": 0.9, "tpr": 0.8, "fpr": 0.05, "tpr_at_5": 0.75}
    lines = [
        line(
            backdoored=judged,
            clean={"acc": 1.0, "asr": 0.0, "auroc": 0.4},
            controls={"auroc": 0.6, "tpr_at_5": 0.1, "flagged": 0.3},
            purified={"acc": 1.0, "asr": 0.05, "rejected_clean": 0.02, "rejected_triggered": 0.9},
        ),
        line("fine-tune", repaired={"acc": 0.9, "asr": 0.0}, level="model"),
        {**line("navit2i"), "status": "failed", "error": "no | such thing"},
        line("amdet", level="model", backdoored={"acc": 1.0, "asr": 0.95, "score": 3.0, "verdict": 1.0}),
        line("none"),
        line("fine-tune", 1, repaired={"acc": 1.0, "asr": 0.0}, level="model"),
        line("reset-to-base", 1, repaired={"acc": 1.0, "asr": 0.0}, level="model"),
        line("none", 1),
        line("reset-to-base", 2, repaired={"acc": 0.1, "asr": 0.9}, level="model"),
        line("none", 2, backdoored={"acc": 1.0, "asr": 0.2}),
    ]
    text = page.write_page(lines).read_text()
    assert "| eviledit | navit2i | 0 | no / such thing |" in text
    assert "| daa | 1 | 0.900 | 0.400 | 0.600 | 0.750 |  | 0.100 | 0.800 | 0.050 | 0.300 |" in text
    assert "| amdet | eviledit | 1 | 1 | 0 | 0 |  | 1.0 |" in text
    assert "| daa (inputs) | 1 | 0.05 |  | 1.00 |  |  | 0.02 | 0.90 | 1 of 1 | 1.0 |" in text
    must = "| eviledit: ASR of .10 or less, at most .05 of the accuracy lost | by "
    assert f"{must}a repair of the model | reset-to-base; at some seeds: fine-tune (1 of 2) | 3 |" in text
    assert f"{must}inputs turned away or changed | daa | 1 |" in text and "daa (reversed)" in text
    monkeypatch.setattr(page, "FINE_TUNED", tmp_path / "none.jsonl")
    empty = page.write_page([]).read_text()
    assert "No pair failed." in empty and empty.count("Not measured.") == 5


def test_texts_on_clean_fine_tunings_stand_beside_the_backdoored_model(page: ModuleType) -> None:
    one = {"attack": "paas", "params": {}, "seed": 0, "auroc_backdoored": 1.0, "auroc": 0.5, "tpr_at_5": 0.0}
    lines = [{**one, "model": "unet-120"}, {**one, "model": "lora-8", "auroc": 0.75, "tpr_at_5": 0.25}]
    assert "| paas | 1.00 | 0.50 / 0.00 | 0.75 / 0.25 |" in page.fine_tuned_table(lines)
    assert page.fine_tuned_table([]) == "Not measured."


def test_a_claim_to_be_ahead_is_held_against_the_best_rival_and_a_variant_tests_none() -> None:
    claims = importlib.import_module("text_to_image_claims")

    def pair(defense: str, auroc: float, **params: Any) -> dict[str, Any]:
        backdoored = {"auroc": auroc, "tpr": auroc, "fpr": 0.0, "asr": 1.0}
        pair = {"attack": "villan", "params": {}, "defense": defense, "defense_params": params, "seed": 0}
        return pair | {"backdoored": backdoored}

    lines = [
        pair("none", 0.0),
        pair("daa", 0.6, length_bias=True),
        pair("ufid", 0.7),
        pair("scaling-offset", 0.8),
        pair("blackmirror", 1),
    ]
    table = claims.claims_table([*lines, pair("temporal-noise", 0.78), pair("t2ishield", 1, method="cda")])
    rows = {row.split("|")[1].strip(): row for row in table.splitlines()}
    assert "| 0.10 above the best | 1.00" in rows["AUROC .091 above the best other (SET)"]
    assert "| 0.04 above the best | 0.00" in rows["accuracy .11 above others (TNC)"]  # .89, and .85 of ufid
    assert "| F1 1.00 | 1.00" in rows["F1 .895 over eight attacks (BlackMirror)"]
    variant = next(row for said, row in rows.items() if "(T2IShield, CDA)" in said)
    assert "| not tested: one-class, without triggers |" in variant
