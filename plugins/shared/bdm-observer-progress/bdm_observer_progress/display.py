"""One line on standard error that is redrawn in place, without a thread and without hiding the cursor."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

REDRAW_SECONDS = 0.1
BAR_WIDTH = 10
MINIMUM_NAME = 16
"""Columns that the stage's name needs before there is a bar."""


class Display:
    """Draws the stages of a run.

    Args:
        console: where to draw; standard error by default. Without a terminal only finished stages are printed.
        clock: seconds on a clock that never goes back.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._clock = clock
        self._part: tuple[str, str] = ("", "")
        self._began = 0.0
        self._first = 0
        self._drawn = float("-inf")

    def start(self, stage: str) -> None:
        """A stage begins."""
        if self.console.is_terminal:
            self._draw(Text(f"  {stage} ...", style="dim", no_wrap=True, overflow="ellipsis"))

    def update(self, stage: str, label: str, done: int, total: int, loss: float | None) -> None:
        """``done`` of ``total`` steps of ``label`` are finished; redrawn ten times a second at most."""
        now = self._clock()
        if self._part != (stage, label) or done < self._first:
            self._part, self._began, self._first = (stage, label), now, done
        if not self.console.is_terminal or (now - self._drawn < REDRAW_SECONDS and done < total):
            return
        self._drawn = now
        name = stage if label in ("", stage) else f"{stage}: {label}"
        facts = self._facts(done, total, loss, now)
        room = self.console.width - 1 - len(facts) - 2
        wide = room >= BAR_WIDTH + MINIMUM_NAME
        title = Text(f"  {name}")
        title.truncate(max(MINIMUM_NAME, room - BAR_WIDTH - 1 if wide else room), overflow="ellipsis")
        filled = BAR_WIDTH * min(done, total) // max(total, 1)
        bar: list[str | tuple[str, str]] = (
            [("━" * filled, "green"), ("━" * (BAR_WIDTH - filled), "bright_black"), "  "] if wide else [" "]
        )
        line = Text.assemble(title, " ", *bar, facts)
        line.truncate(self.console.width - 1, overflow="ellipsis")
        self._draw(line)

    def finish(self, stage: str, seconds: float, cached: bool) -> None:
        """A stage has ended: its line stays."""
        self._clear()
        took = "from the store" if cached else span(seconds)
        width = max(30, min(44, self.console.width - 20))
        line = Text(f"  {stage:<{width}} {took}", style="dim" if cached else "")
        self.console.print(line, soft_wrap=True)

    def _facts(self, done: int, total: int, loss: float | None, now: float) -> str:
        facts = [f"{done}/{total}"]
        if loss is not None:
            facts.append(f"loss {loss:.4g}")
        elapsed, steps = now - self._began, done - self._first
        if steps > 0 and elapsed > 0:
            rate = steps / elapsed
            facts.append(f"{rate:.3g}/s" if rate < 1000 else f"{rate:.0f}/s")
            facts.append(f"{span(max(total - done, 0) / rate)} left")
        return "  ".join(facts)

    def _draw(self, line: Text) -> None:
        self._clear()
        self.console.print(line, end="", no_wrap=True, overflow="ellipsis", crop=True)
        self.console.control(Control.move_to_column(0))

    def _clear(self) -> None:
        if self.console.is_terminal:
            self.console.control(Control.move_to_column(0), Control((ControlType.ERASE_IN_LINE, 2)))


def span(seconds: float) -> str:
    """A span of time: ``0.4 s``, ``12.3 s``, ``3:05 min``, ``2:10 h``."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 100 else f"{minutes // 60}:{minutes % 60:02d} h"
