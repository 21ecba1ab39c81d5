"""Observers of whole runs: what they are told, when, and that nothing they do or lack disturbs a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_process import install_toys
from fake_site import FakeSite

from bdm_core import api

RECORDER = """
import json
from bdm_core import Field, Observer, Params, hookimpl

class RecorderParams(Params):
    api_key: str = Field("", description="A credential.")
    word: str = Field("", description="A word.")

class Recorder(Observer):
    name = "recorder"
    Params = RecorderParams

    @hookimpl
    def run_started(self, params, folder, record):
        self.said = [["started", params.word, folder.name, record["status"], record["spec"]["attack"]]]
        self.folder = folder

    @hookimpl
    def stage_finished(self, stage):
        self.said.append(stage)

    @hookimpl
    def run_finished(self, record, results):
        self.said.append(["finished", record["status"], record["error"], len(results), record["plugins"]])
        (self.folder / "said.json").write_text(json.dumps(self.said))

class Broken(Observer):
    name = "broken"

    @hookimpl
    def run_started(self, record):
        raise ConnectionError("nobody answers")
"""
OPTIONS = {"attack": "toyword", "defense": "toylook", "device": "cpu"}


@pytest.fixture
def toys(fake_site: FakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install_toys(fake_site)
    entries = {"bdm.observers": {"recorder": "recorder:Recorder", "broken": "recorder:Broken"}}
    fake_site.install("bdm-recorder", entries, {"recorder": RECORDER})
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_an_observer_sees_the_run_from_its_record_to_its_numbers(toys: Path) -> None:
    params = {"observer:recorder": {"api_key": "sesame", "word": "w"}}
    view = api.run(**OPTIONS, observers=["recorder"], params=params, out=toys, name="first")
    text = (view.folder / "said.json").read_text()
    (begin, *stages, end) = json.loads(text)
    assert begin == ["started", "w", "first", "running", "toyword"]
    assert "backdoored model" in stages and "detection" in stages
    assert end[:4] == ["finished", "complete", None, len(view.results)] and len(view.results) > 0
    assert "sesame" not in text


def test_a_failed_run_is_told_with_its_reason(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no luck: token=abcd")

    monkeypatch.setattr("bdm_core.run.runner.run_cell", fail)
    with pytest.raises(RuntimeError):
        api.run(**OPTIONS, seed=1, observers=["recorder"], out=toys, name="bad")
    (*_, end) = json.loads((toys / "bad" / "said.json").read_text())
    assert end[:4] == ["finished", "failed", "RuntimeError: no luck: token=[redacted]", 0]


def test_a_broken_observer_is_warned_of_once(toys: Path, caplog: pytest.LogCaptureFixture) -> None:
    view = api.run(**OPTIONS, observers=["broken"], out=toys, name="first")
    assert view.record["status"] == "complete"
    said = [record.getMessage() for record in caplog.records if "observer:broken" in record.getMessage()]
    assert len(said) == 1 and "nobody answers" in said[0]
