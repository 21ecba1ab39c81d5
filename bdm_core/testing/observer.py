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

EVENTS: list[Event] = [
    ("stage_started", {"stage": "model", "cached": True}),
    ("stage_finished", {"stage": "model", "seconds": 0.0, "cached": True}),
    ("stage_started", {"stage": "backdoored model", "cached": False}),
    ("stage_progress", {"stage": "backdoored model", "label": "train", "done": 0, "total": 0, "loss": None}),
    ("stage_progress", {"stage": "backdoored model", "label": "train", "done": 3, "total": 9, "loss": 0.5}),
    ("stage_progress", {"stage": "backdoored model", "label": "sample", "done": 9, "total": 9, "loss": math.nan}),
    ("stage_finished", {"stage": "backdoored model", "seconds": 12.5, "cached": False}),
    ("stage_progress", {"stage": "a stage nobody began", "label": "", "done": 2, "total": 1, "loss": None}),
    ("stage_finished", {"stage": "another one", "seconds": 0.1, "cached": False}),
]
"""One plausible order of events; the tests shuffle it."""


class ObserverConformance(PluginConformance):
    """What every observer must satisfy: no order of events makes it fail, and it leaves the stages' folders alone."""

    kind = "observer"
    hooks_of_kind = ("stage_started", "stage_progress", "stage_finished")
    one_of = hooks_of_kind

    def test_survives_any_order_of_events(self, tmp_path: Path) -> None:
        (tmp_path / "cwd").mkdir()
        contexts = [new_context(tmp_path / f"{shuffle:02d}", stage="open-model") for shuffle in range(20)]
        before = guard.snapshot(tmp_path, [])
        for shuffle, ctx in enumerate(contexts):
            events = EVENTS if shuffle == 0 else random.Random(shuffle).sample(EVENTS, len(EVENTS))
            manager = scoped(self.subject)
            with guard.inside(tmp_path / "cwd"):
                for hook, arguments in events:
                    hooks.call(manager, hook, ctx=ctx, **arguments)
        changed = guard.differences(before, guard.snapshot(tmp_path, []))
        assert not changed, f"the observer wrote {', '.join(changed)}"
