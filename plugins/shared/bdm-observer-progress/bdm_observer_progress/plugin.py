"""The plugin: three observer hooks that drive one display."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Observer, hookimpl

if TYPE_CHECKING:
    from bdm_observer_progress.display import Display


class Progress(Observer):
    """Shows the stages of a run while they work."""

    name = "progress"
    summary = "Live progress of a run's stages in the terminal: steps, loss, rate, time left"

    def __init__(self) -> None:
        self._display: Display | None = None

    @property
    def display(self) -> Display:
        """The display, made at the first event."""
        if self._display is None:
            from bdm_observer_progress.display import Display

            self._display = Display()
        return self._display

    @hookimpl
    def stage_started(self, stage: str, cached: bool) -> None:
        """Begin a line for a stage that has to be computed."""
        if not cached:
            self.display.start(stage)

    @hookimpl
    def stage_progress(self, stage: str, label: str, done: int, total: int, loss: float | None) -> None:
        """Redraw the stage's line."""
        self.display.update(stage, label, done, total, loss)

    @hookimpl
    def stage_finished(self, stage: str, seconds: float, cached: bool) -> None:
        """Print the finished stage."""
        self.display.finish(stage, seconds, cached)
