"""The toy observer."""

from __future__ import annotations

from typing import ClassVar

from bdm_core import Observer, hookimpl


class ToyObserver(Observer):
    """Remembers what it was told in ``ToyObserver.events``; a test empties that list first."""

    name = "toy"
    summary = "Remember every event"
    events: ClassVar[list[tuple[str, str]]] = []

    @hookimpl
    def stage_started(self, stage: str, cached: bool) -> None:
        self.events.append(("cached" if cached else "started", stage))

    @hookimpl
    def stage_progress(self, stage: str, label: str) -> None:
        self.events.append((label, stage))

    @hookimpl
    def stage_finished(self, stage: str) -> None:
        self.events.append(("finished", stage))
