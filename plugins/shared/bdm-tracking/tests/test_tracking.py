"""What reaches a tracker: names, settings, numbers; nothing secret, nothing after an error."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from bdm_tracking.tracking import LONGEST, Tracking, notes_of, plain_name, settings_of

RECORD: dict[str, Any] = {
    "status": "complete",
    "error": None,
    "spec": {"attack": "mine", "detect": "look", "model": "https://user:pass@host/x", "seed": 3},
    "task": "toy",
    "seed": 3,
    "command": "bdm run --judge-token abc",
    "plugins": {
        "attack:mine": {"version": "1.0", "params": {"rate": 0.5, "api_key": "sesame", "words": ["a"], "none": None}},
        "observer:wandb": {"version": "1.0", "params": {"project": "p"}},
    },
    "detections": {"backdoored": {"verdict": "clean"}},
}
RESULTS = [
    {"row": "backdoored", "metric": "metric:mine.asr@0.05", "value": 0.5},
    {"row": "clean", "metric": "metric:mine.none", "value": None},
    {"row": "clean", "metric": "metric:mine.odd", "value": math.inf},
]


class Kept:
    """A writer that keeps what it gets; it fails at a number of this name."""

    def __init__(self, fails: str = "") -> None:
        self.got: dict[str, Any] = {}
        self.numbers: list[tuple[str, float, int]] = []
        self.closed: tuple[str, dict[str, str]] | None = None
        self.fails = fails

    def settings(self, values: dict[str, str | int | float | bool]) -> None:
        self.got |= values

    def number(self, name: str, value: float, step: int) -> None:
        if name == self.fails:
            raise ConnectionError("nobody answers")
        self.numbers.append((name, value, step))

    def close(self, status: str, notes: dict[str, str]) -> None:
        self.closed = status, notes


def test_a_run_is_forwarded_in_order() -> None:
    kept = Kept()
    tracking = Tracking(lambda params, folder, name: kept)
    tracking.started(None, Path("runs/first"), RECORD)
    for step in range(2001):
        tracking.progress("backdoored model", "train", (step, 2000), 1.0 / (step + 1))
    tracking.progress("detection", "", (1, 2), None)
    tracking.stage("model", 1.0, True)
    tracking.stage("backdoored model", 2.0, False)
    tracking.finished(RECORD, RESULTS)
    losses = [item for item in kept.numbers if item[0] == "loss/backdoored model/train"]
    assert len(losses) == 501 and losses[-1] == ("loss/backdoored model/train", 1 / 2001, 2000)
    assert kept.numbers[501:] == [("seconds/backdoored model", 2.0, 2), ("backdoored/mine.asr_0.05", 0.5, 0)]
    assert kept.closed == ("complete", {"verdict backdoored": "clean"})
    assert kept.got["attack/mine.rate"] == 0.5 and kept.got["attack/mine.words"] == "['a']"


def test_no_credential_is_forwarded() -> None:
    every = str(settings_of(RECORD)) + str(notes_of({"error": "StageError: --token abcd https://u:p@h/", **RECORD}))
    assert not any(word in every for word in ("sesame", "user:pass", "abc", "project"))
    notes = notes_of({"error": "failed with token=abcd at https://u:pw@h/"})
    assert notes == {"error": "failed with token=[redacted] at https://[redacted]@h/"}


def test_names_and_texts_suit_every_tracker() -> None:
    assert plain_name("loss/purified\nsamples: <b>") == "loss/purified_samples_ _b_"
    (text,) = settings_of({"spec": {"model": "x\x1b[31m" * 200}}).values()
    assert isinstance(text, str) and len(text) == LONGEST and text.isprintable()


def test_after_an_error_a_tracker_is_left_alone() -> None:
    kept = Kept(fails="seconds/one")
    tracking = Tracking(lambda params, folder, name: kept)
    tracking.started(None, Path("r"), RECORD)
    with pytest.raises(ConnectionError):
        tracking.stage("one", 1.0, False)
    tracking.stage("two", 1.0, False)
    tracking.finished(RECORD, RESULTS)
    assert kept.numbers == [] and kept.closed is None


def test_events_without_a_run_are_nothing() -> None:
    tracking = Tracking(lambda params, folder, name: Kept())
    tracking.progress("a", "b", (1, 1), 0.5)
    tracking.stage("a", 1.0, False)
    tracking.finished(RECORD, RESULTS)
