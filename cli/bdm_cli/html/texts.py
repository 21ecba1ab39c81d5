"""Lines of text with marked spans."""

from __future__ import annotations

import unicodedata

from bdm_cli.html.markup import Child, Html, tag
from bdm_core.figures import Span, Texts

ROW_LIMIT = 64
LENGTH_LIMIT = 2000
"""Characters of one row that are shown."""
MEANING = {"trigger": "trigger", "target": "target", "removed": "removed", "note": "note"}
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""Bidirectional classes of the characters that change the direction of what follows."""

ELEMENTS = {"removed": "del"}
"""Marks that are no ``mark`` elements."""


def draw(figure: Texts) -> Html:
    """The rows as a list."""
    rows = figure.rows[:ROW_LIMIT]
    left_out = len(figure.rows) - len(rows)
    return tag(
        "div",
        tag("ul", [tag("li", _row(row)) for row in rows], class_="texts"),
        tag("p", f"{left_out} further lines are not shown.", class_="note") if left_out else None,
    )


def legend(markup: Html) -> Html | None:
    """One line on the marks that occur in a part of the page; None if there are none."""
    parts: list[Child] = []
    for mark, meaning in MEANING.items():
        element = ELEMENTS.get(mark, "mark")
        if f'<{element} class="{mark}"' in markup:  # text of the run cannot look like this: it is escaped
            parts += [", " if parts else None, tag(element, meaning, class_=mark)]
    return tag("p", "Marked: ", parts, ".", class_="note") if parts else None


def _row(spans: list[Span]) -> list[Child]:
    shown: list[Child] = []
    room = LENGTH_LIMIT
    for span in spans:
        if room <= 0:
            break
        text = span.text[:room] + ("…" if len(span.text) > room else "")
        shown.append(_span(text, span.mark))
        room -= len(span.text)
    return shown


def _span(text: str, mark: str) -> Child:
    if not mark:
        return "".join(_point(character) if _turning(character) else character for character in text)
    return tag(ELEMENTS.get(mark, "mark"), _visible(text), class_=mark, title=_explained(text, mark))


def _visible(text: str) -> str:
    """Marked text in which a character without a glyph is written as its code point."""
    return "".join(_point(character) if _hidden(character) else character for character in text)


def _explained(text: str, mark: str) -> str:
    """What the mark means; look-alike characters are told by their code points."""
    strange = [_point(character) for character in text if ord(character) > 127][:8]
    return ": ".join([MEANING[mark], " ".join(strange)] if strange else [MEANING[mark]])


def _turning(character: str) -> bool:
    """Whether it has no glyph and would turn the text after it around, or is a control character."""
    return character not in "\n\t" and (
        unicodedata.category(character) == "Cc" or unicodedata.bidirectional(character) in TURNING
    )


def _hidden(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) in {"Cc", "Cf", "Cn", "Co", "Mn", "Zl", "Zp"}


def _point(character: str) -> str:
    return f"U+{ord(character):04X}"
