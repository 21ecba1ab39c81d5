"""What the headline of a report says, given the verdict and what the run knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdm_cli.html import render
from bdm_core.records import Detection
from bdm_results.view import RunView

Run = Callable[..., RunView]
Words = Callable[[str], str]


def fact(verdict: str, **facts: Any) -> dict[str, Any]:
    return {"verdict": verdict, "score": 0.7, "threshold": 1.2, "p_value": None, "note": "", "level": "model", **facts}


@pytest.mark.parametrize(
    ("role", "attack", "verdict", "text", "style"),
    [
        ("backdoored", "villan", "backdoored", "Backdoored", "bad"),
        ("backdoored", "villan", "clean", "Missed", "bad"),
        ("backdoored", "villan", "not identifiable", "Cannot tell", "open"),
        ("clean", "villan", "backdoored", "False alarm", "bad"),
        ("clean", "villan", "clean", "Clean", "good"),
        ("elijah", None, "backdoored", "Backdoored", "bad"),
        ("elijah", None, "clean", "Clean", "good"),
        ("elijah", None, "not identifiable", "Cannot tell", "open"),
    ],
)
def test_the_headline_knows_the_truth(
    role: str, attack: str | None, verdict: str, text: str, style: str, writer: Any
) -> None:
    spec = {"attack": attack, "detect": "elijah"}
    page = render(writer.finish(spec=spec, detections={role: fact(verdict, p_value=0.01)}))
    assert f'class="verdict {style}"><h1>{text}</h1>' in page
    assert f"<title>{text}: " in page


def test_a_missed_attack_is_nowhere_green(tmp_path: Path, words: Words, complete_run: Run) -> None:
    run = complete_run(tmp_path, detections={"backdoored": fact("clean", score=0.3)})
    for line in run.results:
        if line["metric"] == "metric:detection.verdict":
            line["value"] = 0.0
    page = render(run)
    assert "there is a backdoor, and the detector found nothing" in words(page)
    assert '<b class="bad">clean</b>' in page and 'class="good"' not in page


def test_the_clean_models_verdict_stands_below(writer: Any, words: Words) -> None:
    judged = {"clean": fact("backdoored", score=7.0, p_value=0.01), "backdoored": fact("clean")}
    text = words(render(writer.finish(detections=judged)))
    assert "elijah on the clean model: false alarm (score 7.000, threshold 1.200, p = 0.010)." in text
    assert text.index("Missed") < text.index("false alarm")


@pytest.mark.parametrize(("level", "unit"), [("input", "inputs"), ("data", "training rows")])
def test_what_is_judged_one_by_one_is_counted_and_no_verdict(level: Any, unit: str, words: Words, writer: Any) -> None:
    scores = [0.1, 0.2, 0.3, 0.9, 0.95]
    writer.stage("detection", lambda out: Detection(level=level, scores=scores, threshold=0.5))
    writer.measured("backdoored", "metric:detection", metric="tpr", value=1.0, share=True)
    writer.measured("backdoored", "metric:detection", metric="tnr", value=0.75, share=True)
    counted = {"judged": 5, "flagged": 2}
    judged = {"backdoored": fact("", score=None, threshold=0.5, level=level, **counted)}
    page = render(writer.finish(detections=judged))
    assert f'class="verdict open"><h1>2 of 5 {unit} flagged</h1>' in page
    said = f"true positive rate 100.0 %, false positive rate 25.0 %; a count of flagged {unit} is no verdict"
    assert f"{said} on the model." in words(page)
    assert page.count('class="tick"') == 5


def test_a_count_that_an_earlier_version_did_not_keep_is_not_invented(writer: Any) -> None:
    page = render(writer.finish(detections={"backdoored": fact("backdoored", score=None, level="input")}))
    assert "<h1>Some inputs may be flagged</h1>" in page


def test_a_detector_has_not_missed_an_attack_that_did_not_take(writer: Any, words: Words) -> None:
    kind = {"share": True, "measures": "attack-success", "on": "triggered"}
    for row, value in (("clean under trigger", 0.01), ("backdoored", 0.02)):
        writer.measured(row, "metric:hits", metric="asr", value=value, **kind)
    page = render(writer.finish(detections={"backdoored": fact("clean")}))
    assert 'class="verdict open"><h1>The attack did not take</h1>' in page
    assert "the attack success rate is 2.0 %" in words(page)


def test_not_identifiable_says_why_and_is_never_called_clean(words: Words, writer: Any) -> None:
    page = render(writer.finish(detections={"backdoored": fact("not identifiable", note="flat objective")}))
    assert "flat objective" in page and "verdict good" not in page
    assert "the method cannot tell for this model" in words(page)


@pytest.mark.parametrize("repair", [None, "none", "bdm-defense-none:none"])
def test_without_a_repair_nothing_is_said_of_one(
    tmp_path: Path, repair: str | None, words: Words, complete_run: Run
) -> None:
    page = render(complete_run(tmp_path, spec={"attack": "villan", "detect": "elijah", "repair": repair}))
    text = words(page)
    assert "after the repair" not in text and "Repaired model" not in text
    assert '<th scope="row">repaired</th>' not in page and '<th scope="row">backdoored</th>' in page


def test_purified_inputs_have_a_row_and_a_place_in_the_sentences(writer: Any, words: Words) -> None:
    for row, value in (("clean", 0.99), ("backdoored", 0.97), ("purified", 0.25), ("repaired", 0.05)):
        kind = {"share": True, "measures": "attack-success", "on": "triggered", "label": "ASR"}
        writer.measured(row, "metric:hits", metric="asr", value=value, **kind)
    page = render(writer.finish())
    assert "backdoored model; with purified inputs, 25.0 %; after the repair, 5.0 %." in words(page)
    rows = [page.index(f'<th scope="row">{row}</th>') for row in ("backdoored", "purified", "repaired")]
    assert rows == sorted(rows)


def test_arrows_are_explained_only_if_there_are_some(writer: Any, words: Words) -> None:
    writer.measured("clean", "metric:hits", metric="hits", value=1.0)
    assert "↑" not in words(render(writer.finish()))


@pytest.mark.parametrize(
    ("given", "model", "data"),
    [
        ({}, "built in", "built in"),
        ({"model": "mine"}, "mine", "the model's own"),
        ({"data": "rows"}, "built in", "rows"),
    ],
)
def test_the_data_of_a_model_of_ones_own_are_not_called_built_in(
    given: dict[str, Any], model: str, data: str, writer: Any, words: Words
) -> None:
    text = words(render(writer.finish(spec={"attack": "villan", **given}))).replace("\u2019", "'")
    assert f"Model {model} Data {data} " in text
