"""The head of a scan's report: the verdict of all detectors together, what each of them said, what was not checked."""

from __future__ import annotations

from typing import Any

from bdm_cli import verdict_words
from bdm_cli.html import numbers
from bdm_cli.html.markup import Child, Html, table, tag
from bdm_cli.html.material import Material
from bdm_cli.html.table import STYLES
from bdm_cli.overall import answer, left_out, remarks

COLUMNS = {
    "Detector": "",
    "Verdict": "",
    "Score": "number",
    "Threshold": "number",
    "p-value": "number",
    "Sees": "",
    "Time": "number",
    "Reason": "reason",
}
"""Name of a column -> the class of its cells."""


def head(material: Material) -> Html:
    """The overall verdict, who said what, and the corrected p-value."""
    found = answer(material.run)
    checked = found["checked"]
    lead = verdict_words.tally(checked)
    return tag(
        "div",
        tag("h1", word(found["verdict"])),
        tag("p", lead.replace("of", "Of", 1) if lead.startswith("of ") else lead, ".", class_="lead") if lead else None,
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
    rows = [_row(item) for item in found["checked"]]
    head: list[Child] = [tag("th", name, scope="col", class_=style or None) for name, style in COLUMNS.items()]
    unasked = [[tag("dt", ", ".join(names)), tag("dd", reason)] for names, reason in left_out(found)]
    return tag(
        "section",
        tag("h2", "Detectors"),
        table(head, rows, class_="results detectors", caption="What each detector said") if rows else None,
        tag("h3", "Not checked") if unasked else None,
        tag("dl", unasked, class_="metrics") if unasked else None,
    )


def _row(item: dict[str, Any]) -> list[Child]:
    verdict = str(item.get("verdict") or "")
    counted = verdict_words.flagged(item)
    said: Child = counted or tag("b", verdict_words.shown(verdict), class_=STYLES.get(verdict, "open"))
    p_value = numbers.finite(verdict_words.p_value(item))
    cells: list[Child] = [
        said,
        numbers.number(item.get("score")),
        numbers.number(item.get("threshold")),
        numbers.NONE if p_value is None else numbers.p_value(p_value),
        ", ".join(verdict_words.sees(item)).replace("-", " ") or numbers.NONE,
        numbers.seconds(item.get("seconds")),
        str(item.get("note") or numbers.NONE),
    ]
    named = zip(cells, list(COLUMNS.items())[1:], strict=True)
    return [item["detector"], *[tag("td", cell, class_=style or None, data_name=name) for cell, (name, style) in named]]
