"""What a finished run looks like in the terminal: verdicts, the result table, the stages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from bdm_cli.numbers import ARROWS, memory, number, seconds

if TYPE_CHECKING:
    from bdm_core.record import RunView

ROWS = ("clean", "clean under trigger", "backdoored", "repaired")
STYLES = {"backdoored": "bold red", "clean": "bold green", "not identifiable": "bold yellow"}


def metric_label(result: dict[str, Any]) -> str:
    """What a table calls a metric: its label, or the end of its name, with an arrow to the better side."""
    name = result.get("label") or str(result["metric"]).rpartition(":")[2].partition(".")[2] or result["metric"]
    return str(name) + ARROWS[result.get("higher_is_better")]


def result_table(results: Iterable[dict[str, Any]]) -> Table:
    """Metrics down, models across; values with their standard errors.

    Args:
        results: lines of ``results.jsonl`` of one run.
    """
    lines = list(results)
    rows = [row for row in ROWS if any(line["row"] == row for line in lines)]
    rows += [row for row in dict.fromkeys(line["row"] for line in lines) if row not in ROWS]
    cells = {(line["metric"], line["row"]): line for line in lines}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("", overflow="fold")
    for row in rows:
        table.add_column(Text(row.replace(" under ", "\nunder ")), justify="right", no_wrap=True)
    for metric in dict.fromkeys(line["metric"] for line in lines):
        of_metric = [cells.get((metric, row)) for row in rows]
        label = metric_label(next(cell for cell in of_metric if cell is not None))
        table.add_row(
            Text(label), *("" if cell is None else number(cell["value"], cell["stderr"]) for cell in of_metric)
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
    """Seconds and peak memory of each stage, and whether it came from the store."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("stage", no_wrap=True, overflow="ellipsis")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("peak memory", justify="right", no_wrap=True)
    table.add_column("from store", no_wrap=True)
    for stage in stages:
        table.add_row(
            Text(stage["label"]),
            seconds(stage["seconds"]),
            memory(stage["peak_memory_bytes"]),
            "yes" if stage["cached"] else "",
            style="dim" if stage["cached"] else "",
        )
    return table
