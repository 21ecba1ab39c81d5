"""``report.html`` of runs that are scans, failed, damaged, hostile or partly empty."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdm_cli.html import render
from bdm_core.records import Measurement
from bdm_results.view import RunView

Run = Callable[..., RunView]
Words = Callable[[str], str]


def test_text_of_the_run_is_escaped(words: Words, writer: Any) -> None:
    attack = '<script>alert("x")</script>'
    evil = "</style><img src=x onerror=alert(1)>\x00"
    writer.stage("model", writer.model, warnings=[evil], figures={"curves": {attack: [1.0, 2.0, 3.0]}})
    writer.folder.result(
        attack, "clean", attack, Measurement(metric=attack, value=1.0, label=attack, description=attack), {}
    )
    verdicts = {attack: {"verdict": attack, "score": 1.0, "threshold": 0.5, "note": attack}}
    plugins = {attack: {"distribution": attack, "version": attack, "params": {attack: attack}, "access": [attack]}}
    spec = {"attack": attack, "detect": attack, "model": attack}
    text = dict.fromkeys(("run", "command", "task", "device", "git_commit", "started", "finished"), attack)
    run = writer.finish(spec=spec, plugins=plugins, detections=verdicts, status="failed", error=evil, **text)
    page = render(run)
    page.encode("utf-8")
    assert "<script" not in page and "<img" not in page
    assert words(page).count("alert") > 15


def scanned(writer: Any, **verdicts: dict[str, Any]) -> RunView:
    """A scan by detectors of these names, each with evidence of its own."""
    writer.stage("model", writer.model)
    for name in verdicts:
        writer.stage(f"detection by {name}", lambda out: writer.detection(out, note="", scores=[0.8]), seconds=7.0)
    plugin = {"distribution": "bdm-shown", "version": "1.0", "params": {}, "access": ["weights", "clean-data"]}
    plugins = {"kit:shown": plugin, **{f"defense:{name}": plugin for name in verdicts}}
    facts = {
        name: {"score": 0.8, "threshold": 1.2, "note": "", "level": "model", **verdicts[name]} for name in verdicts
    }
    return writer.finish(
        spec={"attack": None, "detectors": None, "model": "mine"},
        plugins=plugins,
        detections=facts,
        not_checked={"ufid": "judges inputs, not models"},
    )


def test_a_scan_shows_the_verdict_of_all_detectors_and_each_ones_line(words: Words, writer: Any) -> None:
    run = scanned(
        writer,
        terd={"verdict": "not identifiable", "p_value": 0.77, "note": "the objective is flat"},
        elijah={"verdict": "backdoored", "p_value": 0.012, "clean_samples": 0},
    )
    page = render(run)
    text = words(page)
    assert text.startswith("Backdoored: scan of mine")
    assert '<div class="verdict bad"><h1>Backdoored</h1>' in page and page.count("<h1>") == 1
    assert "Of 2 detectors elijah says backdoored, terd cannot tell." in text
    assert "terd cannot tell 0.800 1.200 – weights" in text, "a detector that cannot tell has no p-value"
    assert "elijah backdoored 0.800 1.200 p = 0.012 weights, clean data (0 used) 7.00 s" in text
    assert "the objective is flat" in text and "ufid judges inputs, not models" in text
    for absent in ("not identifiable", "on this model", "the elijah model", "The same detector"):
        assert absent not in text


def test_a_scan_shows_the_smallest_p_value_and_the_corrected_one(words: Words, writer: Any) -> None:
    verdicts = {name: {"verdict": "clean", "p_value": p} for name, p in (("terd", 0.5), ("elijah", 0.04))}
    text = words(render(scanned(writer, **verdicts)))
    assert "Smallest p = 0.04 of 2 that give one; corrected for their number (Bonferroni) 0.08." in text
    assert "Of 2 detectors terd and elijah say clean." in text


def test_a_scan_shows_the_evidence_of_each_detector_and_no_secret(words: Words, writer: Any) -> None:
    verdicts = {name: {"verdict": "clean", "p_value": 0.5} for name in ("terd", "elijah")}
    page = render(scanned(writer, **verdicts))
    text = words(page)
    assert "Evidence of terd" in text and "Evidence of elijah" in text
    assert text.count("uniformity") == 2 and page.count("inverted trigger") >= 2
    for absent in ("true trigger", "cosine", "Samples The", "Results", "Under the trigger", "Target", "Loss curves"):
        assert absent not in text


def test_a_failed_run_says_why(words: Words, writer: Any) -> None:
    writer.stage("model", writer.model)
    run = writer.finish(status="failed", error="attack:villan failed while making 'backdoored model'", detections={})
    text = words(render(run))
    assert "This run failed. attack:villan failed while making 'backdoored model'" in text
    assert "No verdict" in text and "Stages" in text and "Results" not in text


def test_numbers_that_are_none_are_dashes(words: Words, writer: Any) -> None:
    writer.stage("model", writer.model, figures={"curves": {"loss": [1.0, 0.5, 0.25, 0.2]}}, memory=None)
    for value in (None, 2.0):
        row = "clean" if value is None else "repaired"
        writer.folder.result(row, row, "metric:target", Measurement(metric="mse", value=value, n=9), {})
    writer.folder.stages[0]["figures"]["curves"]["loss"][2] = math.nan
    writer.folder.stage({"label": "x", "stage": "x", "key": "0", "cached": False, "seconds": None})
    text = words(render(writer.finish(seconds=None, detections={})))
    assert "nan" not in text.lower().split()
    assert "clean –" in text and "2.000" in text


@pytest.mark.parametrize("harm", ["store gone", "sample changed"])
def test_what_cannot_be_opened_is_left_out_and_said(tmp_path: Path, harm: str, words: Words, complete_run: Run) -> None:
    run = complete_run(tmp_path)
    if harm == "store gone":
        shutil.rmtree(tmp_path / "store")
    else:
        next((tmp_path / "store" / "repaired-samples").rglob("000003.png")).write_bytes(b"no picture")
    page = render(RunView(run.folder))
    text = words(page)
    assert "Results" in text and "0.977 ±0.010" in text
    if harm == "store gone":
        assert "<img" not in page
    else:
        assert "Not shown, because it could not be opened" in text
        assert page.count(": 32 pictures") == 5
