"""What a finished run looks like in the terminal: verdicts, the result table, the stages."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from bdm_cli.numbers import ARROWS, memory, number, seconds

if TYPE_CHECKING:
    from bdm_core.run.record import RunView

ROWS = ("clean", "clean under trigger", "backdoored", "repaired")
LABEL_WIDTH = 20
"""Metrics' names are wrapped to so many columns: with four models beside them a table then fits 80."""
STYLES = {"backdoored": "bold red", "clean": "bold green", "not identifiable": "bold yellow"}


def metric_label(result: dict[str, Any]) -> str:
    """What a table calls a metric: its label, or the end of its name, with an arrow to the better side."""
    name = result.get("label") or str(result["metric"]).rpartition(":")[2].partition(".")[2] or result["metric"]
    return str(name) + ARROWS[result.get("higher_is_better")]


def wrap_label(label: str, width: int) -> list[str]:
    """A metric's name in lines, the arrow before what is in brackets, broken between words and after hyphens.

    Args:
        label: as from :func:`metric_label`.
        width: columns; more if a part that cannot be broken needs more.
    """
    arrow = next((sign for sign in ARROWS.values() if sign and label.endswith(sign)), "")
    name, bracket, rest = label.removesuffix(arrow).partition(" (")
    text = name + arrow.replace(" ", "\u00a0") + bracket + rest
    longest = max(map(cell_len, re.split(r" |(?<=\w-)(?=\w)", text)))
    lines = textwrap.wrap(text, max(width, longest), break_long_words=False)
    return [line.replace("\u00a0", " ") for line in lines] or [""]


def result_table(results: Iterable[dict[str, Any]]) -> Table:
    """Metrics down, models across; values with their standard errors.

    Args:
        results: lines of ``results.jsonl`` of one run.
    """
    lines = list(results)
    rows = [row for row in ROWS if any(line["row"] == row for line in lines)]
    rows += [row for row in dict.fromkeys(line["row"] for line in lines) if row not in ROWS]
    cells = {(line["metric"], line["row"]): line for line in lines}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("", overflow="fold")
    for row in rows:
        table.add_column(Text(row.replace(" under ", "\nunder ")), justify="right", no_wrap=True)
    for metric in dict.fromkeys(line["metric"] for line in lines):
        of_metric = [cells.get((metric, row)) for row in rows]
        label = metric_label(next(cell for cell in of_metric if cell is not None))
        table.add_row(
            Text("\n".join(wrap_label(label, LABEL_WIDTH))),
            *("" if cell is None else number(cell["value"], cell["stderr"]) for cell in of_metric),
        )
    return table


def verdict_line(subject: str, detection: dict[str, Any], detector: str | None) -> Text:
    """One line: the verdict on a model with score, threshold and p-value, and the detector's note."""
    verdict = detection["verdict"]
    text = Text(f"{subject}: ")
    text.append(verdict.upper() if verdict == "backdoored" else verdict, style=STYLES.get(verdict, ""))
    facts = [detector or "detector"]
    score, threshold = detection.get("score"), detection.get("threshold")
    if score is not None:
        sign = ">" if score > threshold else "<="
        facts.append(f"score {number(score)} {sign} threshold {number(threshold)}")
    elif threshold is not None:
        facts.append(f"{detection['level']} level, threshold {number(threshold)}")
    if detection.get("p_value") is not None:
        facts.append(f"p = {detection['p_value']:.2g}")
    text.append(f"  ({', '.join(facts)})")
    if detection.get("note"):
        text.append(f" - {detection['note']}", style="dim")
    return text


def verdict_lines(view: RunView) -> list[Text]:
    """The verdict line of every model that the run's detector judged."""
    detector = view.record["spec"].get("detect")
    subjects = {"backdoored": "backdoored model", "clean": "clean model", "model": "model"}
    return [
        verdict_line(subjects.get(role, role), detection, detector)
        for role, detection in view.record["detections"].items()
    ]


def stage_table(stages: Iterable[dict[str, Any]]) -> Table:
    """Seconds and peak memory of each stage, and whether it came from the store; all scores are one line."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("stage", no_wrap=True, overflow="ellipsis")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("peak memory", justify="right", no_wrap=True)
    table.add_column("from store", no_wrap=True)
    every = list(stages)
    parts = [[stage] for stage in every if stage["stage"] != "score"]
    scores = [stage for stage in every if stage["stage"] == "score"]
    for part in [*parts, *([scores] if scores else [])]:
        cached = all(stage["cached"] for stage in part)
        peaks = [stage["peak_memory_bytes"] for stage in part if stage["peak_memory_bytes"] is not None]
        table.add_row(
            Text("scores" if part is scores else part[0]["label"]),
            seconds(sum(stage["seconds"] for stage in part)),
            memory(max(peaks, default=None)),
            "yes" if cached else "",
            style="dim" if cached else "",
        )
    return table
