"""The head of a scan's report: the verdict of all detectors together, what each of them said, what was not checked."""

from __future__ import annotations

from typing import Any

from bdm_cli import verdict_words
from bdm_cli.html import numbers
from bdm_cli.html.markup import Child, Html, table, tag
from bdm_cli.html.material import Material
from bdm_cli.html.table import STYLES
from bdm_cli.overall import answer, remarks


def head(material: Material) -> Html:
    """The overall verdict, who said what, and the corrected p-value."""
    found = answer(material.run)
    checked = found["checked"]
    lead = verdict_words.tally(checked)
    return tag(
        "div",
        tag("h1", word(found["verdict"])),
        tag("p", lead[:1].upper() + lead[1:], ".", class_="lead") if checked else None,
        [tag("p", remark[:1].upper() + remark[1:], ".") for remark in remarks(found)],
        tag("p", f"The rule: {found['rule']}. Clean is no proof.", class_="note"),
        class_=f"verdict {STYLES.get(found['verdict'], 'open')}",
    )


def word(verdict: str) -> str:
    """A verdict as a heading."""
    text = verdict_words.shown(verdict) or "No verdict"
    return text[:1].upper() + text[1:]


def section(material: Material) -> Html | None:
    """A line for each detector, and the names of those that were not asked, with the reason; None without any."""
    found = answer(material.run)
    if not (found["checked"] or found["not_checked"]):
        return None
    columns: list[Child] = ["Detector", "Verdict", "Score", "Threshold", "p-value", "Sees", "Time", "Reason"]
    rows = [_row(item, columns) for item in found["checked"]]
    left_out = [[tag("dt", name), tag("dd", str(reason))] for name, reason in found["not_checked"].items()]
    return tag(
        "section",
        tag("h2", "Detectors"),
        table(columns, rows, class_="results detectors", caption="What each detector said") if rows else None,
        tag("h3", "Not checked") if left_out else None,
        tag("dl", left_out, class_="metrics") if left_out else None,
    )


def _row(item: dict[str, Any], columns: list[Child]) -> list[Child]:
    verdict = str(item.get("verdict") or "")
    counted = verdict_words.flagged(item)
    said: Child = counted or tag("b", verdict_words.shown(verdict), class_=STYLES.get(verdict, "open"))
    p_value = numbers.finite(verdict_words.p_value(item))
    cells: list[tuple[Child, str]] = [
        (said, ""),
        (numbers.number(item.get("score")), "number"),
        (numbers.number(item.get("threshold")), "number"),
        (numbers.NONE if p_value is None else numbers.p_value(p_value), "number"),
        (", ".join(verdict_words.sees(item)).replace("-", " ") or numbers.NONE, ""),
        (numbers.seconds(item.get("seconds")), "number"),
        (str(item.get("note") or numbers.NONE), "reason"),
    ]
    named = zip(cells, columns[1:], strict=True)
    return [
        item["detector"],
        *[tag("td", cell, class_=style or None, data_name=str(name)) for (cell, style), name in named],
    ]
