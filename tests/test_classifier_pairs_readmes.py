"""The sections that the benchmark of pairs writes into the READMEs of defenses."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def readmes(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("classifier_pairs_readmes")


def line(seed: int, attack: str = "badnets", asr: float = 0.0, **more: Any) -> dict[str, Any]:
    return {
        "part": "classifier-pairs",
        "run": f"{attack} {seed} {more}",
        "attack": attack,
        "params": {},
        "model": "mnist-cnn",
        "defense": "fine-tune",
        "seed": seed,
        "status": "complete",
        "backdoored": {"accuracy": 0.98, "asr": 1.0},
        "repaired": {"asr": asr, "accuracy": 0.97},
        **more,
    }


def test_a_section_has_the_known_attacks_and_says_where_the_aim_is_reached(readmes: Any) -> None:
    lines = [line(0), line(1), line(0, "sig", 0.02), line(1, "sig", 0.5), line(0, "bpp", 0.9)]
    text = readmes.section(lines, ["fine-tune"])
    assert "| badnets, mnist-5k | 2 | 0.980 ± 0.000 | 1.000 ± 0.000 | 0.970 ± 0.000 | 0.000 ± 0.000 |" in text
    assert "| sig, mnist-5k | 2 |" in text and "| bpp" not in text
    assert "Of 3 attacks" in text and "on 1: badnets; in some seeds on sig (1 of 2 seeds)." in text.replace("\n", " ")
    assert readmes.section(lines, ["clp"]) == readmes.section([], ["fine-tune"]) == ""


def test_a_section_says_what_the_defense_costs_on_a_clean_model(readmes: Any) -> None:
    clean = line(0, params={"poison_rate": 0.0}, backdoored={"accuracy": 0.98, "asr": 0.01, "fpr": 0.04, "auroc": 0.5})
    text = readmes.section([line(0), clean], ["fine-tune"])
    assert "| attack, data | seeds | ACC before | ASR before | ACC | ASR | FPR |" in text
    assert "| no attack, mnist-5k | 1 | 0.980 |  | 0.970 |  | 0.040 |" in text


def test_no_reach_is_said_of_attacks_that_do_not_work(readmes: Any) -> None:
    weak = line(0, backdoored={"accuracy": 0.98, "asr": 0.4})
    assert "No attack that was measured has an ASR of 0.95." in readmes.section([weak], ["fine-tune"])


def test_detectors_of_models_have_their_area_over_models(readmes: Any) -> None:
    bad = line(0, defense="mntd", clean={"score": 0.1}, backdoored={"accuracy": 0.9, "asr": 1.0, "score": 2.0})
    del bad["repaired"]
    text = readmes.section([bad], ["mntd"]).replace("\n", " ")
    assert "AUROC 1.00 (" in text and "over 1 backdoored and 1 clean ones (too few models)" in text
    assert "it calls 0 / 0 / 1 (" in text


def test_a_section_is_put_in_the_place_of_its_former_one(readmes: Any) -> None:
    text = f"{readmes.TITLE}\n\nNew.\n"
    expected = f"# A\n\n{text}\n## Deviations\n\n- None.\n"
    assert readmes.placed("# A\n\n## Deviations\n\n- None.\n", text) == expected
    assert readmes.placed(expected, text) == expected
    assert readmes.placed(expected.replace("New.", "Old \\1.\n\nAnd more."), text) == expected
    assert readmes.placed("# A\n\nWords.\n", text) == f"# A\n\nWords.\n\n{text}"
    assert readmes.placed(f"# A\n\nWords.\n\n{text}", text) == f"# A\n\nWords.\n\n{text}"
    assert readmes.placed("# A\n", "") == "# A\n"


def test_the_readmes_of_the_repository_have_the_sections_of_its_results(readmes: Any) -> None:
    numbers, swept = importlib.import_module("classifier_pairs_numbers"), importlib.import_module("swept")
    lines = numbers.latest(swept.read_lines(BENCHMARKS / "results" / "classifier_pairs.jsonl"))
    complete = [given for given in lines if given["status"] == "complete"]
    found = 0
    for folder in sorted(readmes.FOLDERS.glob("bdm-defense-*")):
        text, readme = readmes.section(complete, readmes.names_in(folder)), (folder / "README.md").read_text()
        assert text in readme and (text or readmes.TITLE not in readme), folder.name
        found += bool(text)
    assert found > 20
