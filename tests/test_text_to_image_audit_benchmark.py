"""The lines and the page of the benchmark of the audit of text-to-image models."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_the_page_is_what_the_lines_give() -> None:
    made = script("text_to_image_audit_page")
    assert made.page() == made.PAGE.read_text(encoding="utf-8")


def test_attackers_who_know_the_audit_have_success_and_accuracy() -> None:
    lines = {line["model"]: line for line in script("text_to_image_audit").read_lines() if line["part"] == "adaptive"}
    assert {name: (line["asr"], line["acc"]) for name, line in lines.items()} == {
        "eviledit-quiet": (0.9333, 0.9792),
        "tpa-quiet": (1.0, 1.0),
    }
    table = script("text_to_image_audit_page").verdict_table(list(lines.values()), "adaptive")
    header, _, first, _ = (row.split(" | ") for row in table.strip().splitlines())
    assert header[-2:] == ["ASR", "ACC |"] and first[-2:] == ["0.93", "0.98 |"]
    assert "ASR" not in script("text_to_image_audit_page").verdict_table(list(lines.values()), "test")


def test_lines_are_completed_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = script("text_to_image_audit")
    known: list[dict[str, Any]] = [
        {"part": "adaptive", "model": "quiet", "seed": 0, "cpu_seconds": {}, "words": {}, "low_rank": {}},
        {"part": "test", "model": "unet", "seed": 1, "cpu_seconds": {}},
    ]
    monkeypatch.setattr(made, "RESULTS", tmp_path / "lines.jsonl")
    monkeypatch.setattr(made, "read_lines", lambda: [dict(line) for line in known])
    folder = tmp_path / "adaptive" / "quiet" / "model"
    folder.mkdir(parents=True)
    folder.with_name("figures.json").write_text(json.dumps({"steps": 150, "asr": 0.5, "acc": 1.0}))
    monkeypatch.setattr(made, "members", lambda out, part: [("quiet", folder, None)] if part == "adaptive" else [])
    made.complete(tmp_path, ["adaptive", "test"], [""])
    written = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert written == [{**known[0], "asr": 0.5, "acc": 1.0}, known[1]]
