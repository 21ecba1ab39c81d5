"""Loss curves, and what each stage cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bdm_cli.html import charts, numbers
from bdm_cli.html.markup import Child, Html, table, tag
from bdm_cli.html.material import Material, mapping

HOLLOW = " Hollow bars: the time that the stage took when it was first computed."
LIMIT = 16
"""More curves than this are not drawn."""


def curves(material: Material) -> Html | None:
    """A panel for each curve that a stage kept."""
    panels = []
    for label, name, values in _curves(material.run.stages):
        chart = charts.curve(values, f"{label}, {name}")
        if chart is not None:
            panels.append(tag("figure", tag("figcaption", tag("b", label), f", {name}"), chart))
    if not panels:
        return None
    left_out = len(panels) - LIMIT
    return tag(
        "section",
        tag("h2", "Loss curves"),
        tag("div", panels[:LIMIT], class_="panels"),
        tag(
            "p",
            "Faint: each step. Strong: moving average. The axis is logarithmic where a curve spans more than a decade.",
            f" {left_out} further curves are in stages.json." if left_out > 0 else None,
            class_="note",
        ),
    )


def costs(material: Material) -> Html | None:
    """Time and memory of each stage."""
    entries = material.run.stages
    if not entries:
        return None
    longest = max((numbers.finite(entry.get("seconds")) or 0.0 for entry in entries), default=0.0)
    highest = max((numbers.finite(entry.get("peak_memory_bytes")) or 0.0 for entry in entries), default=0.0)
    rows: list[list[Child]] = [
        [
            str(entry.get("label")),
            "from the store" if entry.get("cached") else "computed",
            *_measured(numbers.seconds(entry.get("seconds")), entry.get("seconds"), longest, bool(entry.get("cached"))),
            *_measured(numbers.memory(entry.get("peak_memory_bytes")), entry.get("peak_memory_bytes"), highest, False),
        ]
        for entry in entries
    ]
    head: list[Child] = [
        "Stage",
        "Origin",
        tag("th", "Time", colspan=2, scope="colgroup"),
        tag("th", "Peak memory", colspan=2, scope="colgroup"),
    ]
    stored = sum(bool(entry.get("cached")) for entry in entries)
    total = material.record.get("seconds")
    summary = "1 stage" if len(entries) == 1 else f"{len(entries)} stages"
    if stored:
        summary += f", {stored} of them from the store"
    if total is not None:
        summary += f"; the run took {numbers.seconds(total)}"
    return tag(
        "section",
        tag("h2", "Stages"),
        table(head, rows, class_="plain stages", caption="Cost of each stage"),
        tag("p", f"{summary}.", HOLLOW if stored else None, class_="note"),
        _warnings(entries),
    )


def _measured(text: str, value: Any, largest: float, hollow: bool) -> list[Html]:
    real = numbers.finite(value)
    drawn = charts.bar(real / largest, hollow=hollow) if real is not None and largest > 0 else None
    return [tag("td", text, class_="number"), tag("td", drawn, class_="drawn")]


def _warnings(entries: list[dict[str, Any]]) -> Html | None:
    said = [(str(entry.get("label")), str(text)) for entry in entries for text in entry.get("warnings") or []]
    if not said:
        return None
    return tag("ul", [tag("li", tag("b", f"{label}: "), text) for label, text in said], class_="warnings")


def _curves(entries: list[dict[str, Any]]) -> Iterator[tuple[str, str, list[float | None]]]:
    for entry in entries:
        for name, values in mapping(mapping(entry.get("figures")).get("curves")).items():
            if isinstance(values, list):
                yield str(entry.get("label")), name, [numbers.finite(value) for value in values]
