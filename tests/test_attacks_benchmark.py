"""The cases and the table of the benchmark of attacks."""

from __future__ import annotations

import importlib
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest
from sweep_toys import TOY

from bdm_core.discovery.candidates import find
from bdm_core.run.specification import build_params
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.catalogue import BUILTIN_MODELS
from bdm_sweep import read_plan
from bdm_sweep.cells import Preparation, cells_of

PLANS = Path(__file__).parents[1] / "benchmarks" / "plans"


@pytest.fixture
def attacks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("attacks")


def test_every_case_is_an_attack_on_a_built_in_model_with_valid_settings(attacks: ModuleType) -> None:
    assert len({case.name for case in attacks.CASES}) == len(attacks.CASES)
    for case in attacks.CASES:
        assert case.model in BUILTIN_MODELS
        build_params(find("attack", case.attack, TASK).load(), case.settings)
    assert {case.attack for case in attacks.CASES} >= {"villan", "baddiffusion", "trojdiff", "invi", "uibdiffusion"}


def line(case: str, seed: int, asr: float, leak: float, frechet: float) -> dict[str, object]:
    return {
        "case": case,
        "seed": seed,
        "asr": asr,
        "asr_clean_model": 0.0,
        "leak": leak,
        "frechet": frechet,
        "frechet_clean_model": 2.0,
        "seconds": 10.0,
    }


def test_the_table_marks_what_misses_a_bound(attacks: ModuleType) -> None:
    good, bad = attacks.CASES[0].name, attacks.CASES[1].name
    of_classes = next(case.name for case in attacks.CASES if case.settings.get("mode") == "in-d2d")
    lines = [line(good, seed, 0.97, 0.0, 2.2) for seed in range(3)] + [line(bad, 0, 0.5, 0.3, 4.0)]
    lines.append(
        {
            "case": of_classes,
            "seed": 0,
            "asr": None,
            "asr_class": 1.0,
            "asr_class_clean_model": 0.2,
            "leak": None,
            "leak_class": 0.13,
            "leak_class_clean_model": 0.1,
            "frechet": 2.0,
            "frechet_clean_model": 2.0,
            "seconds": 3.0,
        }
    )
    rows = attacks.table(lines).splitlines()
    assert f"| {good} | 3 | 0.97 (0.97 to 0.97) | 0.00 | 0.000 | 1.10 (1.10 to 1.10) | 10 |" in rows
    assert f"| {bad} | 1 | 0.50 (0.50 to 0.50) * | 0.00 | 0.300 * | 2.00 (2.00 to 2.00) * | 10 |" in rows
    assert f"| {of_classes} | 1 | 1.00 (1.00 to 1.00) | 0.20 | 0.030 * | 1.00 (1.00 to 1.00) | 3 |" in rows


def test_the_recorded_lines_make_the_page(attacks: ModuleType) -> None:
    assert attacks.page(attacks.read_lines(attacks.LINES)) == attacks.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "cases", "seeds"), [("attacks", 19, 3), ("text-to-image", 14, 3)])
def test_every_cell_of_a_plan_is_possible(name: str, cases: int, seeds: int) -> None:
    found = cells_of(read_plan(PLANS / f"{name}.yaml"), Preparation())
    assert len(found.possible) == cases * seeds
    assert found.impossible == []


def test_what_has_no_line_is_measured(attacks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With toys: one of two attacks has a line already, the other gets one; the same call again runs nothing."""
    monkeypatch.syspath_prepend(str(TOY))
    swept = importlib.import_module("swept")
    plan, lines = tmp_path / "plan.yaml", tmp_path / "lines.jsonl"
    plan.write_text("attacks: [toy, {name: toy, params: {shift: 9}}]\nseeds: [4]\noptions: {device: cpu}\n")
    lines.write_text('{"case": "{}", "seed": 4}\n')
    given = Namespace(fresh=False, dry_run=False, seeds=None, only=None, work=tmp_path / "work", workers=1)
    for _ in range(2):
        swept.measure_missing(
            plan, lines, given, lambda attack: str(attack.params), lambda view: {"rows": len(view.results)}
        )
    assert swept.read_lines(lines)[1:] == [{"case": "{'shift': 9}", "seed": 4, "rows": 6}]
    assert len(list((tmp_path / "work").glob("*/run.json"))) == 1
