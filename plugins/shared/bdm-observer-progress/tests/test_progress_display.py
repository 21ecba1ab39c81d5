"""The display: what a terminal shows, what a log file gets."""

import io
import re

from rich.console import Console

from bdm_core.discovery.candidates import scoped
from bdm_core.testing import ObserverConformance
from bdm_observer_progress.display import Display, span
from bdm_observer_progress.plugin import Progress


class TestProgress(ObserverConformance):
    plugin = Progress


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def display(*, terminal: bool, width: int = 80) -> tuple[Display, io.StringIO, Clock]:
    written, clock = io.StringIO(), Clock()
    return (
        Display(Console(file=written, force_terminal=terminal, width=width, color_system=None), clock),
        written,
        clock,
    )


def last_line(written: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "\r", written.getvalue()).replace("\n", "\r").strip("\r").split("\r")[-1]


def test_a_log_file_gets_one_plain_line_for_each_finished_stage() -> None:
    shown, written, clock = display(terminal=False)
    shown.start("repair")
    for step in range(5):
        clock.now += 1
        shown.update("repair", "train", step, 4, 0.5)
    shown.finish("repair", 4.25, False)
    shown.finish("detection", 99.0, True)
    lines = written.getvalue().splitlines()
    assert [line.split() for line in lines] == [["repair", "4.2", "s"], ["detection", "from", "the", "store"]]
    assert "\x1b" not in written.getvalue()


def test_rate_and_time_left_follow_from_the_clock() -> None:
    shown, written, clock = display(terminal=True)
    for step in (0, 20, 40):
        shown.update("backdoored model", "train", step, 100, 0.125)
        clock.now += 5
    line = last_line(written)
    assert "backdoored model: train" in line
    assert "40/100" in line and "loss 0.125" in line
    assert "4/s" in line and "15.0 s left" in line  # 40 steps in 10 s: 60 more take 15 s


def test_no_line_is_wider_than_the_terminal() -> None:
    for width in (40, 60, 80, 120):
        shown, written, clock = display(terminal=True, width=width)
        shown.update("backdoored samples under trigger", "sample with a long label", 0, 100_000, 0.123456)
        clock.now += 1000
        shown.update("backdoored samples under trigger", "sample with a long label", 99_999, 100_000, 0.123456)
        assert "\n" not in written.getvalue()
        assert len(last_line(written)) < width


def test_it_redraws_ten_times_a_second_at_most_and_always_at_the_end() -> None:
    shown, written, clock = display(terminal=True)
    for step in range(1001):
        shown.update("stage", "", step, 1000, None)
        clock.now += 0.001
    assert written.getvalue().count("/1000") <= 12
    assert "1000/1000" in last_line(written)


def test_a_second_part_of_a_stage_starts_its_own_rate() -> None:
    shown, written, clock = display(terminal=True)
    shown.update("detection", "invert", 0, 10, None)
    clock.now += 100
    shown.update("detection", "sample", 0, 10, None)
    clock.now += 1
    shown.update("detection", "sample", 5, 10, None)
    assert "5/s" in last_line(written) and "1.0 s left" in last_line(written)


def test_spans() -> None:
    assert [span(value) for value in (0.04, 12.34, 185, 7800)] == ["0.0 s", "12.3 s", "3:05 min", "2:10 h"]


def test_the_plugin_fits_the_hooks_and_prints_to_standard_error(capsys) -> None:
    from pathlib import Path

    from bdm_core import hooks
    from bdm_core.context import Context

    manager = scoped(Progress())
    ctx = Context(Path(), Path(), 0)
    hooks.call(manager, "stage_started", ctx=ctx, stage="clean samples", cached=False)
    hooks.call(manager, "stage_progress", ctx=ctx, stage="clean samples", label="sample", done=1, total=2, loss=None)
    hooks.call(manager, "stage_finished", ctx=ctx, stage="clean samples", seconds=1.0, cached=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.split() == ["clean", "samples", "1.0", "s"]
