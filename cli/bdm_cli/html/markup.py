"""HTML that is safe and balanced by construction: whatever is not :class:`Html` is escaped when it becomes a child."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset({"img", "meta", "br", "hr"})


class Html(str):
    """Markup made by :func:`tag` or :func:`join`. Plain strings are text and get escaped."""


Child = str | int | float | None | Iterable["Child"]


def escape(text: object) -> Html:
    """Text for element content or a quoted attribute. Lone surrogates and NUL, which no file can hold, are replaced."""
    clean = str(text).encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
    return Html(html.escape(clean, quote=True))


def join(*children: Child) -> Html:
    """Children one after the other; None is left out, lists are flattened, text is escaped."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str | int | float):
            parts.append(escape(child))
        else:
            parts.append(join(*child))
    return Html("".join(parts))


def tag(element: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """One element.

    Args:
        element: its name.
        children: text, numbers, markup, or lists of them.
        attributes: a trailing underscore is dropped and others become hyphens (``class_``, ``stroke_width``);
            None and False leave the attribute out; True gives the bare attribute; floats are cut to two decimals.
    """
    pairs = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if element in VOID:
        return Html(f"<{element}{pairs}>")
    return Html(f"<{element}{pairs}>{join(*children)}</{element}>")


def table(head: list[Child], rows: Iterable[list[Child]], *, class_: str = "plain", caption: str | None = None) -> Html:
    """A table with a header row; the first cell of each row is its header. Cells that are a ``td`` stay as they are."""
    body = [tag("tr", tag("th", row[0], scope="row"), [_cell(cell) for cell in row[1:]]) for row in rows]
    content = tag(
        "table",
        tag("caption", caption) if caption else None,
        tag("thead", tag("tr", [_head(cell) for cell in head])),
        tag("tbody", body),
        class_=class_,
    )
    return tag("div", content, class_="scroll", tabindex=0, role="region", aria_label=caption or "table")


def _cell(cell: Child) -> Html:
    return cell if isinstance(cell, Html) and cell.startswith("<td") else tag("td", cell)


def _head(cell: Child) -> Html:
    return cell if isinstance(cell, Html) and cell.startswith("<th") else tag("th", cell, scope="col")


def _attribute(name: str, value: str | int | float | bool | None) -> str:
    if value is False:
        return ""
    key = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {key}="{escape(text)}"'
