"""The statistics and the population of the detection benchmark."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from types import ModuleType

import pytest
from sklearn.metrics import roc_auc_score

from bdm_core.run.specification import build_params

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("detection_page")


@pytest.fixture
def numbers(page: ModuleType) -> ModuleType:
    return importlib.import_module("detection_numbers")


def test_auroc_is_scikit_learn_s(numbers: ModuleType) -> None:
    draw = random.Random(0)
    for _ in range(20):
        pairs = [(draw.random() < 0.5, float(draw.randint(0, 5))) for _ in range(40)]
        assert numbers.auroc(pairs) == pytest.approx(roc_auc_score(*zip(*pairs, strict=True)))


def test_a_threshold_lets_no_more_clean_models_through_than_stated(numbers: ModuleType) -> None:
    scores = [float(number) for number in range(40)]
    limit = numbers.threshold(scores, 0.05)
    assert sum(score > limit for score in scores) == 2
    assert numbers.threshold([3.0, 1.0], 0.05) == 3.0
    accuracy, hit, false = numbers.rates([(True, 9.0), (True, 0.0), (False, 1.0), (False, 0.0)], 0.5)
    assert (accuracy, hit, false) == (0.5, 0.5, 0.5)
    assert numbers.rates([(True, 9.0), (False, 0.0)], 0.5) == (1.0, 1.0, 0.0)


def test_the_page_reports_the_test_half_at_the_threshold_of_the_other(
    page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(model: str, group: str, half: str, score: float) -> dict[str, object]:
        detection = {"score": score, "conclusive": True, "verdict": "backdoored" if score > 0.7 else "clean"}
        return {
            "model": model,
            "group": group,
            "half": half,
            "defense": "elijah",
            "base": "digits-ddpm",
            "settings": {"trigger": "white-box" if score > 1 else "checker"},
            "start_only": 2 * score,
            "detection": detection,
            "stages": {"detection": 4.0},
            "metrics": {
                "backdoored: asr@0.05": 1.0,
                "repaired: asr@0.05": 0.25,
                "repaired: asr@0.1": 0.9,
                "clean: frechet_x": 2.0,
                "repaired: frechet_x": 3.0,
            },
        }

    lines = [line(f"c{number}", "clean", "calibration", 1.0) for number in range(5)]
    lines += [line("d0", "clean", "test", 0.5), line("d1", "clean", "test", 0.9)]
    lines += [line("b0", "villan, sde", "test", 5.0), line("b1", "villan, sde", "test", 0.1)]
    inputs = {
        "model": "b0",
        "group": "villan, sde",
        "half": "test",
        "defense": "ufid",
        "base": "digits-ddpm",
        "detection": {"score": None},
        "stages": {},
        "metrics": {"backdoored: tpr": 0.75, "backdoored: tnr": 0.5, "backdoored: auroc": 0.6},
    }
    samplers = {"model": "b0", "group": "villan, sde", "defense": "samplers", "rows": [{"sampler": "ddpm", "asr": 0.8}]}
    again = [line("e0", "clean", "test", 0.1), line("e1", "villan, sde", "calibration", 0.9)]
    monkeypatch.setattr(
        page,
        "read_lines",
        lambda path=None: {None: [*lines, inputs, samplers], page.SECOND: again}.get(path, []),
    )
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.main()
    text = (tmp_path / "page.md").read_text()
    assert "9 models, 7 of them clean, of 116 planned" in text
    assert "| elijah | 2 + 2 | 0.75 (0.19 to 0.99) | 0.50 (0.01 to 0.99) | 1.00 (0.16 to 1.00) | 0.50 (" in text
    assert "| villan, sde | 2 | 0.50 (0.01 to 0.99) |" in text
    # judged at all, start points, as shipped, seconds
    assert "| 1.00 (0.40 to 1.00) | 0.50 | 0.50 (0.07 to 0.93) | 4 |" in text
    assert "| villan, sde | ufid | 1 | 0.75 | 0.50 | 0.60 |" in text and "| villan, sde | 0.80 |" in text
    assert (
        "| elijah | 1 + 1 | 0.50 (0.01 to 0.99) | 0.00 (0.00 to 0.97) | 1.00 (0.03 to 1.00) | 1.00 (0.21 to 1.00) |"
        in text
    )
    assert "1.00 to 1.00" not in text and "third part" not in text
    assert "- elijah, e1: score 0.90, threshold 1.00, ASR 1.00" in text and "e0" not in text
    words = " ".join(text.split())
    assert "Too few models to confirm or refute: villan, sde, triggers on -1 (1 of 1); villan, sde (1 of 2)." in words
    assert "| villan, sde | elijah | 2 | 1.00 | 0.25 | " in text and "| 1.50 |" in text


@pytest.mark.parametrize(
    ("accuracy", "count", "published", "own", "word"),
    [
        (1.0, 4, None, False, "too few models to confirm or refute"),
        (0.0, 4, (0.0, 9), False, "too few models to confirm or refute"),
        (0.96, 5, None, False, "confirmed"),
        (0.8, 5, None, False, "neither confirmed nor refuted"),
        (0.5, 5, None, True, "refuted"),
        (0.5, 5, None, False, "not confirmed with our settings; published settings not run"),
        (
            0.5,
            5,
            (0.0, 4),
            False,
            "not confirmed with our settings; published settings run on 4 of the 5 models that it takes",
        ),
        (0.5, 5, (0.6, 5), False, "refuted, with our settings and with published ones"),
        (0.5, 5, (0.8, 5), False, "neither confirmed nor refuted"),
        (0.5, 5, (1.0, 5), False, "confirmed with published settings only"),
    ],
)
def test_a_claim_is_refuted_only_if_published_settings_fail_too(
    page: ModuleType, accuracy: float, count: int, published: tuple[float, int] | None, own: bool, word: str
) -> None:
    assert importlib.import_module("detection_claims").word_for(accuracy, count, published, own) == word


def test_published_settings_are_told_apart_and_judged_by_their_own_threshold(page: ModuleType) -> None:
    def line(model: str, group: str, half: str, score: float) -> dict[str, object]:
        told = {"score": score, "conclusive": True, "p_value": 0.5, "verdict": "clean"}
        where = {"model": model, "group": group, "half": half, "defense": "terd", "settings": {"trigger": "checker"}}
        return {**where, "detection": told, "seconds": 7.0}

    def population(limit: float, score: float) -> list[dict[str, object]]:
        clean = [line(f"c{number}", "clean", "calibration", limit) for number in range(3)]
        clean += [line(f"d{number}", "clean", "test", limit) for number in range(3)]
        return clean + [line(f"b{number}", "villan, sde", "test", score) for number in range(6)]

    module = importlib.import_module("detection_claims")
    ours, theirs = population(1.0, 0.5), population(20.0, 30.0)
    words = " ".join(module.claims(ours, []).split())
    assert "Not confirmed with our settings; published settings not run: villan, sde (0.50, 0 of 6)" in words
    assert "Confirmed with published settings only: villan, sde" in module.claims(ours, theirs).replace("\n", " ")
    assert "| terd | 3 + 6 | 1.00 (0.66 to 1.00) |" in module.claims(ours, theirs)
    assert "Refuted, with our settings and with published ones" in module.claims(ours, ours).replace("\n", " ")


@pytest.mark.parametrize(
    ("only", "names"),
    [(None, 116), (["clean-digits-small-1"], 1), (["clean-digits-small-", "villan-ode-digits-small-1"], 41)],
)
def test_a_model_is_asked_for_by_its_name_and_not_by_the_beginning_of_another(
    page: ModuleType, only: list[str] | None, names: int
) -> None:
    plans, population = (importlib.import_module(f"detection_{name}") for name in ("plans", "population"))
    assert sum(plans.is_asked_for(member, only) for member in population.population()) == names


def test_p_values_of_clean_models_are_held_against_uniform_ones(numbers: ModuleType) -> None:
    uniform = [(number + 0.5) / 20 for number in range(20)]
    small = [value / 100 for value in uniform]
    _, elijah, terd = numbers.p_value_table({"diff-cleanse": [], "elijah": small, "terd": uniform})
    assert terd[0] == "terd" and float(terd[3]) > 0.5 and terd[-1] == "not shown to be too small"
    assert elijah[1] == "20" and float(elijah[3]) < 1e-6 and elijah[-1].startswith("too small")


def test_the_third_part_has_every_must_with_its_interval(page: ModuleType) -> None:
    def line(model: str, group: str, kind: str, verdict: str, **more: object) -> dict[str, object]:
        told = {"verdict": verdict, "score": 1.0, "p_value": more.pop("p_value", 0.5)}
        where = {"model": model, "group": group, "kind": kind, "part": "third", "defense": "reference-audit"}
        return {**where, "detection": told, **more}

    lines = [line(f"c{number}", "clean", "noisy", "clean", parent=True) for number in range(9)]
    lines += [line("c9", "clean", "pruned", "backdoored", parent=True, p_value=0.001)]
    lines += [line("c10", "clean", "pruned", "not identifiable", parent=False, p_value=None)]
    lines += [line(f"b{number}", "villan, ode", "backdoored", "backdoored", parent=True) for number in range(10)]
    failed = {"model": "x", "group": "clean", "kind": "rotated", "defense": "reference-audit", "error": "no network"}
    text = "\n".join(importlib.import_module("detection_third").third_part([*lines, failed]))
    assert "20 models, 10 of them clean, of 2 kinds" in text and "1 were judged with a reference" in text
    for row in (
        "| clean called backdoored | 0.10 (0.00 to 0.45), 1 of 10 | at most 5 % |",
        "| backdoored called clean | 0.00 (0.00 to 0.31), 0 of 10 | at most 5 % |",
        "| cannot tell, true parent given | 0.00 (0.00 to 0.17), 0 of 20 | at most 10 % |",
        "| cannot tell, without | 1.00 (0.03 to 1.00), 1 of 1 | stated |",
        "| clean models of p < .01 | 0.10 (0.00 to 0.45), 1 of 10 | at most 3 % |",
        "| reference-audit | pruned | 1 | 1 | 0 | 0 |",
        "| reference-audit | villan, ode | 10 | 10 | 0 | 0 |",
    ):
        assert row in text, row
    assert importlib.import_module("detection_third").third_part([]) == []


def test_models_whose_backdoor_did_not_take_are_counted_apart(page: ModuleType, tmp_path: Path) -> None:
    third = importlib.import_module("detection_third")
    where = {"group": "invi, sde", "kind": "backdoored", "defense": "reference-audit", "parent": True}
    lines = [
        {**where, "model": f"b{number}", "detection": {"verdict": word, "p_value": 0.5}, "took": success >= 0.5}
        | {"metrics": {"backdoored: asr@0.05": success}}
        for number, (word, success) in enumerate((("backdoored", 0.9), ("clean", 0.3), ("not identifiable", 0.1)))
    ]
    text = "\n".join(third.third_part(lines, "fifth"))
    assert "| backdoored called clean | 0.00 (0.00 to 0.97), 0 of 1 |" in text and "1 models of 76 planned" in text
    said = "2 did not take: invi, sde (0.10), invi, sde (0.30)."
    assert said in text and "1 clean, 1 not identifiable" in text
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- fifth:begin -->\nold\n<!-- fifth:end -->\nb\n", encoding="utf-8")
    third.write_readme(lines, "fifth", readme)
    written = readme.read_text(encoding="utf-8")
    assert "old" not in written and "0 of 1" in written and said in written and written.endswith("end -->\nb\n")
    assert third.not_taken(lines[:1]) == "All took."


def test_the_population_is_half_clean_and_every_setting_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    population = importlib.import_module("detection_population").population
    members, second = population(), population(second=True)
    assert not {member.name for member in members} & {member.name for member in second}
    assert {member.group for member in members} == {member.group for member in second}
    assert not any(member.repaired for member in second)
    assert len({member.name for member in members}) == len(members) >= 100
    clean = sum(member.attack is None for member in members)
    assert abs(2 * clean - len(members)) <= 2
    halves = [
        sum(m.half == half and (m.attack is None) is plain for m in members)
        for half in ("calibration", "test")
        for plain in (True, False)
    ]
    assert min(halves) >= 20
    from bdm_core.discovery.candidates import find

    for member in [*members, *second]:
        if member.attack is not None:
            build_params(find("attack", member.attack, "unconditional-image-generation").load(), member.settings)


def test_every_model_has_a_plan_whose_cells_are_possible(
    page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every recorded line has its cell, but for the samplers and for inputs that were judged on a second model."""
    plans = importlib.import_module("detection_plans")
    benchmark = importlib.import_module("detection")
    for name in ("make_base", "make_clean"):
        monkeypatch.setattr(plans, name, lambda *_: tmp_path)
    lines = benchmark.read_lines()
    members = plans.population(False)
    one_of_each = {(member.group, member.base, member.repaired, member.seed == 0): member for member in members}
    preparation = plans.Preparation()
    for member in one_of_each.values():
        plan = plans.plan_of_member(member, benchmark.DEFENSES, None, tmp_path)
        found = plans.cells_of(plan, preparation)
        recorded = {line["defense"] for line in lines if line["model"] == member.name} - {"samplers"}
        cells = {cell.defense for cell in found.possible}
        assert cells and recorded - cells <= benchmark.INPUTS, member.name
        assert found.impossible == []
