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


def test_auroc_is_scikit_learn_s(page: ModuleType) -> None:
    draw = random.Random(0)
    for _ in range(20):
        pairs = [(draw.random() < 0.5, float(draw.randint(0, 5))) for _ in range(40)]
        assert page.auroc(pairs) == pytest.approx(roc_auc_score(*zip(*pairs, strict=True)))


def test_a_threshold_lets_no_more_clean_models_through_than_stated(page: ModuleType) -> None:
    scores = [float(number) for number in range(40)]
    limit = page.threshold(scores, 0.05)
    assert sum(score > limit for score in scores) == 2
    assert page.threshold([3.0, 1.0], 0.05) == 3.0
    accuracy, hit, false = page.rates([(True, 9.0), (True, 0.0), (False, 1.0), (False, 0.0)], 0.5)
    assert (accuracy, hit, false) == (0.5, 0.5, 0.5)
    assert page.rates([(True, 9.0), (False, 0.0)], 0.5) == (1.0, 1.0, 0.0)


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
        page, "read_lines", lambda path=None: again if path == page.SECOND else [*lines, inputs, samplers]
    )
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.main()
    text = (tmp_path / "page.md").read_text()
    assert "9 models, 7 of them clean, of 116 planned" in text
    assert "| elijah | 2 + 2 | 0.75 (0.50 to 1.00) | 0.50 " in text and "| villan, sde | 2 | 0.50 |" in text
    assert "| 1.00 | 0.50 | 0.50 | 4 |" in text  # judged at all, start points, as shipped, seconds
    assert "| villan, sde | ufid | 1 | 0.75 | 0.50 | 0.60 |" in text and "| villan, sde | 0.80 |" in text
    assert "| elijah | 1 + 1 | 0.50 (0.50 to 0.50) | 1.00 (1.00 to 1.00) | 0.00 (0.00 to 0.00) | 1.00 |" in text
    assert "- elijah, e1: score 0.90, threshold 1.00, ASR 1.00" in text and "e0" not in text
    words = " ".join(text.split())
    assert "Confirmed for villan, sde, triggers on -1 (1.00, 1)." in words
    assert "Neither confirmed nor refuted for villan, sde (0.75, 2)." in words
    assert "| villan, sde | elijah | 2 | 1.00 | 0.25 | " in text and "| 1.50 |" in text


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
