"""What a finished run looks like in the terminal: verdicts, the result table, the stages."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from bdm_cli import grid, verdict_words
from bdm_cli.attack_success import failed
from bdm_cli.numbers import ARROWS, memory, number, seconds

if TYPE_CHECKING:
    from bdm_results.view import RunView

ROWS = ("clean", "clean under trigger", "backdoored", "purified", "repaired")
LABEL_WIDTH = 20
"""Metrics' names are wrapped to so many columns: with four models beside them a table then fits 80."""
NARROW_LABEL = 10
"""The same where metrics stand across."""
ARROWS_MEAN = "↑ higher is better, ↓ lower is better, as the defender sees it"
STYLES = {"backdoored": "bold red", "clean": "bold green", "not identifiable": "bold yellow"}


def metric_label(result: dict[str, Any], arrow: str | None = None) -> str:
    """What a table calls a metric: its label, or the end of its name, with an arrow to the better side by default."""
    name = result.get("label") or str(result["metric"]).rpartition(":")[2].partition(".")[2] or result["metric"]
    return str(name) + (ARROWS[result.get("higher_is_better")] if arrow is None else arrow)


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


def print_results(console: Console, results: Iterable[dict[str, Any]]) -> None:
    """Print the result table: metrics down and models across, or the other way round where that is too wide.

    Args:
        console: where to.
        results: lines of ``results.jsonl`` of one run.
    """
    lines = told_apart(results)
    for text in wide_results(lines, console.width) or narrow_results(lines, console.width):
        console.print(text, soft_wrap=True)
    if any(line.get("higher_is_better") is not None for line in lines):
        print_arrows(console)


def told_apart(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines, with the kind of input in the name of a metric that one row has on several, so that none is lost."""
    lines = list(results)
    counted = Counter((line["metric"], line["row"]) for line in lines)
    twice = {metric for (metric, _), count in counted.items() if count > 1}
    return [
        line
        if line["metric"] not in twice
        else line
        | {"metric": f"{line['metric']}, {line.get('on')}", "label": f"{metric_label(line, '')}, {line.get('on')}"}
        for line in lines
    ]


def print_arrows(console: Console) -> None:
    """Print what the arrows after metrics' names mean."""
    for text in textwrap.wrap(ARROWS_MEAN, console.width):
        console.print(Text(text, style="dim"), soft_wrap=True)


def wide_results(lines: list[dict[str, Any]], width: int) -> list[Text]:
    """Metrics down, models across, values with their standard errors; no lines if that is too wide."""
    rows = _rows_of(lines)
    cells = {(line["metric"], line["row"]): line for line in lines}
    header = [row.replace(" under ", "\nunder ") for row in rows]
    found = []
    for metric, label in _metrics_of(lines).items():
        values = (Text(_cell(cells.get((metric, row)))) for row in rows)
        found.append([Text("\n".join(wrap_label(label, LABEL_WIDTH))), *values])
    return grid.table(["", *header], found, width, header)


def narrow_results(lines: list[dict[str, Any]], width: int) -> list[Text]:
    """Models down, metrics across, in as many parts as it takes."""
    rows, metrics = _rows_of(lines), _metrics_of(lines)
    cells = {(line["metric"], line["row"]): line for line in lines}
    names = grid.Column([""], rows)
    columns = []
    for metric, label in metrics.items():
        values = [_cell(cells.get((metric, row))) for row in rows]
        columns.append(grid.Column(wrap_label(label, max([NARROW_LABEL, *map(cell_len, values)])), values))
    found: list[Text] = []
    for part in grid.blocks(columns, width - names.width):
        found += [Text(""), *grid.heading(names, part)] if found else grid.heading(names, part)
        for place, row in enumerate(rows):
            values = [column.cells[place] for column in part]
            if any(values):
                found.append(Text(grid.line(row, names, values, part)))
    return found


def _rows_of(lines: list[dict[str, Any]]) -> list[str]:
    found = dict.fromkeys(line["row"] for line in lines)
    return [row for row in ROWS if row in found] + [row for row in found if row not in ROWS]


def _metrics_of(lines: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        found.setdefault(line["metric"], metric_label(line))
    return found


def _cell(line: dict[str, Any] | None) -> str:
    return "" if line is None else number(line["value"], line.get("stderr"))


def verdict_word(role: str, detection: dict[str, Any], rate: float | None = None) -> tuple[str, str]:
    """A verdict in words, with its style. Where the truth is known a wrong one says so.

    Args:
        role: ``backdoored`` or ``clean`` where the truth is known; anything else for a scan.
        detection: of ``run.json``.
        rate: the success rate of an attack that did not take, as of :func:`bdm_cli.attack_success.failed`.
    """
    verdict = str(detection.get("verdict"))
    if counted := verdict_words.flagged(detection):
        return counted, ""
    if (role, verdict) == ("backdoored", "clean"):
        if rate is not None:
            return f"called clean, and the attack did not take (success rate {number(rate)})", STYLES[
                "not identifiable"
            ]
        return "MISSED (called clean)", STYLES["backdoored"]
    if (role, verdict) == ("clean", "backdoored") and detection.get("level") == "model":
        return "FALSE ALARM (called backdoored)", STYLES["backdoored"]
    return verdict.upper() if verdict == "backdoored" else verdict_words.shown(verdict), STYLES.get(verdict, "")


def verdict_line(role: str, detection: dict[str, Any], detector: str | None, rate: float | None) -> Text:
    """One line: the verdict on a model with score, threshold and p-value, and the detector's note."""
    text = Text.assemble(f"{role} model: ", verdict_word(role, detection, rate))
    facts = [detector or "detector"]
    score, threshold = detection.get("score"), detection.get("threshold")
    if score is not None and threshold is not None:
        sign = ">" if score > threshold else "<="
        facts.append(f"score {number(score)} {sign} threshold {number(threshold)}")
    elif threshold is not None:
        facts.append(f"{detection['level']} level, threshold {number(threshold)}")
    if (p_value := verdict_words.p_value(detection)) is not None:
        facts.append(f"p = {p_value:.2g}")
    text.append(f"  ({', '.join(facts)})")
    if detection.get("note"):
        text.append(f" - {detection['note']}", style="dim")
    return text


def verdict_lines(view: RunView) -> list[Text]:
    """The verdict line of every model that the run's detector judged, and what else there is to say."""
    found, rate = [], failed(view.results)
    for role, detection in view.record["detections"].items():
        found.append(verdict_line(role, detection, view.record["spec"].get("detect"), rate))
        if counted := _rates(view, role, detection):
            found.append(Text(counted, style="dim"))
    return found + [Text(f"{name}: {note}") for name, note in (view.record.get("notes") or {}).items()]


def _rates(view: RunView, role: str, detection: dict[str, Any]) -> str:
    """What flagged rows mean, by the rates that the run measured; "" for a detector of models."""
    if not verdict_words.flagged(detection):
        return ""
    bad = {"input": "triggered", "data": "poisoned"}.get(detection["level"])
    names = {"metric:detection.tpr": f"of the {bad} ones", "metric:detection.fpr": "of the clean ones"}
    lines = [line for line in view.results if line.get("row") == role and line.get("value") is not None]
    rates = [f"{100 * line['value']:.1f} % {names[line['metric']]}" for line in lines if line["metric"] in names]
    said = f"{', '.join(rates)} are flagged; " if rates else ""
    return f"{said}a count of flagged {verdict_words.UNITS[detection['level']]} is no verdict on the model"


def print_detectors(console: Console, checked: list[dict[str, Any]]) -> None:
    """Print what each detector of a scan said.

    Args:
        console: where to.
        checked: as from :func:`bdm_cli.scan.answer`.
    """
    rows = []
    for item in checked:
        p_value = verdict_words.p_value(item)
        cells = {
            "detector": Text(item["detector"], style="bold"),
            "verdict": Text(*verdict_word("", item)),
            "score": Text("" if item.get("score") is None else number(item["score"])),
            "threshold": Text("" if item.get("threshold") is None else number(item["threshold"])),
            "p": Text("" if p_value is None else f"{p_value:.2g}"),
            "access": Text(", ".join(verdict_words.sees(item))),
            "time": Text("" if item.get("seconds") is None else seconds(item["seconds"])),
        }
        rows.append(cells)
    grid.print_records(
        console, list(rows[0]), [list(row.values()) for row in rows], ("score", "threshold", "p", "time")
    )
    for item in checked:
        if item.get("note"):
            console.print(Text(f"{item['detector']}: {item['note']}", style="dim"), soft_wrap=not console.is_terminal)


def overall(model: str, verdict: str, checked: list[dict[str, Any]]) -> Text:
    """The verdict of all detectors together, in one line, and who said what."""
    word = verdict.upper() if verdict == "backdoored" else verdict_words.shown(verdict)
    return Text.assemble(f"{model}: ", (word, STYLES.get(verdict, "")), f"  ({verdict_words.tally(checked)})")


def print_stages(console: Console, stages: Iterable[dict[str, Any]]) -> None:
    """Print seconds and peak memory of each stage, and whether it came from the store; all scores are one line."""
    every = list(stages)
    parts = [[stage] for stage in every if stage["stage"] != "score"]
    scores = [stage for stage in every if stage["stage"] == "score"]
    rows = []
    for part in [*parts, *([scores] if scores else [])]:
        cached = all(stage["cached"] for stage in part)
        peaks = [stage["peak_memory_bytes"] for stage in part if stage["peak_memory_bytes"] is not None]
        label = "scores" if part is scores else part[0]["label"]
        cells = (label, seconds(sum(stage["seconds"] for stage in part)), memory(max(peaks, default=None)))
        rows.append([Text(cell, style="dim" if cached else "") for cell in (*cells, "yes" if cached else "")])
    grid.print_records(console, ("stage", "time", "peak memory", "from store"), rows, ("time", "peak memory"))
