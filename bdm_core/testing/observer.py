"""Conformance tests of observers."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from bdm_core import hooks
from bdm_core.discovery.candidates import scoped
from bdm_core.testing import guard
from bdm_core.testing.common import PluginConformance
from bdm_core.testing.tiny import new_context

Event = tuple[str, dict[str, Any]]

RECORD = {
    "run": "a-run",
    "status": "complete",
    "error": None,
    "spec": {"attack": "mine", "detect": None, "seed": 3},
    "task": None,
    "plugins": {"attack:mine": {"distribution": "bdm-mine", "version": "1.0", "params": {"rate": 0.5, "words": ["a"]}}},
    "seed": 3,
    "detections": {"backdoored": {"verdict": "clean", "score": None}},
}
RESULTS = [
    {"row": "backdoored", "metric": "metric:mine.asr@0.05", "value": 0.5, "label": "ASR"},
    {"row": "clean under trigger", "metric": "metric:mine.asr@0.05", "value": None, "label": ""},
]
EVENTS: list[Event] = [
    ("run_started", {"record": RECORD}),
    ("stage_started", {"stage": "model", "cached": True}),
    ("stage_finished", {"stage": "model", "seconds": 0.0, "cached": True}),
    ("stage_started", {"stage": "backdoored model", "cached": False}),
    ("stage_progress", {"stage": "backdoored model", "label": "train", "done": 0, "total": 0, "loss": None}),
    ("stage_progress", {"stage": "backdoored model", "label": "train", "done": 3, "total": 9, "loss": 0.5}),
    ("stage_progress", {"stage": "backdoored model", "label": "sample", "done": 9, "total": 9, "loss": math.nan}),
    ("stage_finished", {"stage": "backdoored model", "seconds": 12.5, "cached": False}),
    ("stage_progress", {"stage": "a stage nobody began", "label": "", "done": 2, "total": 1, "loss": None}),
    ("stage_finished", {"stage": "another one", "seconds": 0.1, "cached": False}),
    ("run_finished", {"record": RECORD, "results": RESULTS}),
]
"""One plausible order of events; the tests shuffle it. An observer may write into the run's folder."""


class ObserverConformance(PluginConformance):
    """What every observer must satisfy: no order of events makes it fail, and it leaves the stages' folders alone."""

    kind = "observer"
    hooks_of_kind = ("run_started", "stage_started", "stage_progress", "stage_finished", "run_finished")
    one_of = hooks_of_kind

    def test_survives_any_order_of_events(self, tmp_path: Path) -> None:
        (tmp_path / "cwd").mkdir()
        own = tmp_path / "a-run"
        own.mkdir()
        contexts = [new_context(tmp_path / f"{shuffle:02d}", stage="open-model") for shuffle in range(20)]
        before = guard.snapshot(tmp_path, [own])
        for shuffle, ctx in enumerate(contexts):
            events = EVENTS if shuffle == 0 else random.Random(shuffle).sample(EVENTS, len(EVENTS))
            manager = scoped(self.subject)
            with guard.inside(tmp_path / "cwd"):
                for hook, arguments in events:
                    hooks.call(manager, hook, ctx=ctx, params=self.subject.Params(), folder=own, **arguments)
        changed = guard.differences(before, guard.snapshot(tmp_path, [own]))
        assert not changed, f"the observer wrote {', '.join(changed)}"
