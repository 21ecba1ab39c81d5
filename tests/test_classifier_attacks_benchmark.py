"""The plans and the page of the benchmark of attacks on image classifiers."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bdm_core.discovery.candidates import find, installed
from bdm_sweep import read_plan
from bdm_sweep.cells import Preparation, cells_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TASK = "image-classification"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("classifier_attacks_page")


@pytest.mark.parametrize(
    ("name", "count"),
    [("classifier-attacks", 162), ("classifier-attacks-paper", 60), ("classifier-attacks-rates", 129)],
)
def test_the_cells_of_the_plans_can_be(name: str, count: int) -> None:
    found = cells_of(read_plan(BENCHMARKS / "plans" / f"{name}.yaml"), Preparation())
    assert len(found.possible) == count and not found.impossible
    assert {cell.spec.model for cell in found.possible} == {"mnist-cnn", "colour-digits-cnn"}


def test_every_attack_of_the_task_is_measured() -> None:
    plan = read_plan(BENCHMARKS / "plans" / "classifier-attacks.yaml")
    assert {str(attack.name) for attack in plan.attacks} == {item.name for item in installed("attack", TASK)}
    assert len(plan.seeds) >= 3


def line(attack: str, seed: int, asr: float, **more: Any) -> dict[str, Any]:
    return {
        "part": "default",
        "attack": attack,
        "model": "mnist-cnn",
        "seed": seed,
        "params": {},
        "asr": asr,
        "asr_clean_model": 0.0,
        "asr_without_trigger": 0.001,
        "accuracy": 0.98,
        "accuracy_clean_model": 0.985,
        "psnr": 20.0,
        "seconds": 8.0,
        **more,
    }


def test_the_table_has_means_with_intervals_and_marks_what_misses(page: ModuleType) -> None:
    lines = [line("badnets", seed, value) for seed, value in enumerate((0.96, 0.98, 1.0))]
    lines += [line("sig", 0, 0.9, asr_clean_model=0.2, accuracy=0.95)]
    rows = page.table(page.grouped(lines, "default")).splitlines()
    assert "| badnets | mnist-5k | 3 | 0.980 ± 0.050 | 0.001 | 0.000 | 0.980 | 0.985 | 20.0 | 8 |" in rows
    assert "| sig | mnist-5k | 1 | 0.900 * | 0.001 | 0.200 * | 0.950 * | 0.985 | 20.0 | 8 |" in rows
    said = page.verdicts(page.grouped(lines, "default")).splitlines()
    assert said[2].endswith("| met |")
    assert said[3].endswith("| missed: success, accuracy, clean model: an adversarial perturbation |")


def test_the_page_says_whose_the_attacks_are_and_which_are_not_measured(page: ModuleType) -> None:
    further = [name for names in page.FURTHER.values() for name in names]
    said = page.origins(["badnets", *further[1:]])
    assert said.endswith(f"(of backdoor-toolbox). Not measured yet: {further[0]}.")
    assert "Not measured" not in page.origins(further) and max(map(len, said.splitlines())) <= 120
    plan = read_plan(BENCHMARKS / "plans" / "classifier-attacks.yaml")
    twenty = {str(attack.name) for attack in plan.attacks} - set(further)
    assert len(twenty) == 20 and set(page.ADDED) < twenty and len(plan.attacks) == 20 + len(further)
    lines = [line(name, 0, 0.99) for name in ("badnets", further[0], further[1])] + [line("sig", 0, 0.9)]
    assert "1 of 2 attacks (16 must), and 2 of the 2 further ones" in page.summary(page.grouped(lines, "default"))


def test_the_head_says_which_attacks_have_another_rate(page: ModuleType) -> None:
    rates: dict[float | None, list[str]] = {}
    for attack in read_plan(BENCHMARKS / "plans" / "classifier-attacks.yaml").attacks:
        params = find("attack", str(attack.name), TASK).load().Params()
        if getattr(params, "target_class_share", None) is None:
            rates.setdefault(getattr(params, "poison_rate", None), []).append(str(attack.name))
    named = {rate: " and ".join(", ".join(sorted(names)).rsplit(", ", 1)) for rate, names in rates.items()}
    head = page.HEAD.replace("\n", " ")
    assert set(rates) == {0.05, 0.1, None} and "Poison is 5 % of the rows; " in head
    assert f"; 10 % for {named[0.1]};" in head and f"and {named[None]} have no rate." in head
    written = [page.HEAD, page.FORMER, page.STRENGTH, page.ending(["a processor, 2 cores"] * 5)]
    assert max(len(row) for text in written for row in text.splitlines()) <= 120


def test_a_dagger_marks_the_rows_of_older_code(page: ModuleType) -> None:
    marked = [line("wanet", 0, 0.9), line("combat", 0, 0.9), line("bpp", 0, 0.9, params={"levels": 8})]
    plain = [line("combat", 0, 0.9, model="colour-digits-cnn"), line("bpp", 0, 0.9), line("badnets", 0, 0.9)]
    assert [page.former(one) for one in marked + plain] == [" †"] * 3 + [""] * 3
    assert page.table([marked[:1]]).splitlines()[2].startswith("| wanet † |")
    assert page.verdicts([marked[:1]]).splitlines()[2].startswith("| wanet † |")
    rate = line("wanet", 0, 0.9, part="rates", params={"poison_rate": 0.1})
    assert page.rate_table([rate]).splitlines()[2].startswith("| wanet † |")


def test_rates_are_columns(page: ModuleType) -> None:
    lines = [line("blended", 0, rate * 10, part="rates", params={"poison_rate": rate}) for rate in (0.1, 0.001)]
    assert page.rate_table(lines).splitlines()[0] == "| attack | data | 10 % | 0.1 % |"
    assert page.rate_table(lines).splitlines()[2] == "| blended | mnist-5k | 1.00 | 0.01 |"


def test_reversed_orders_are_those_beyond_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    found = importlib.import_module("classifier_attacks_orderings")
    published = {"a": 1.0, "b": 0.8, "c": 0.78, "d": 0.1}
    assert found.comparable(published, list(published)) == 5
    assert found.reversed_pairs({"a": 0.5, "b": 0.9, "c": 0.2, "d": 0.23}, published) == [("a", "b")]
    said = found.orderings({0.1: {"badnets": 1.0, "wanet": 1.0}, 0.001: {"badnets": 0.0, "wanet": 0.98}})
    assert "falls for badnets; not for wanet" in said
    assert max(map(len, said.splitlines())) <= 120
