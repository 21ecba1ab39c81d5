"""Texts and what a trigger does to them, for the report: words put in are marked. Light: no torch."""

from __future__ import annotations

import json
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Data, Secret, rows_of
from bdm_core.context import Context
from bdm_core.figures import Figure, Mark, Span, Texts

LONGEST, MOST_WORDS, AROUND = 400, 3000, 12
"""Characters of a text up to which all is shown; words of a longer one that are looked at; words that are shown before
and after a change."""


def show_samples(ctx: Context, data: Data, rows: list[int], labels: list[str]) -> list[Figure]:
    """Chosen rows, each behind its label; what differs from the original of a changed row is marked."""
    every: Any = rows_of(data)
    changed = [row for row, fact in enumerate(every) if fact.get("role", "clean") != "clean"]
    originals: dict[int, str] = {}
    if "originals.jsonl" in data.files:
        originals = dict(zip(changed, _texts(data.file("originals.jsonl")), strict=False))
    shown = []
    for place, row in enumerate(rows):
        text = str(every[row]["text"])
        head = [Span(text=f"{labels[place]} | ", mark="note")] if labels else []
        shown.append(head + spans(originals.get(row, text), text))
    return [Texts(rows=shown)] if shown else []


def show_trigger(ctx: Context, secret: Secret) -> list[Figure]:
    """The secret's examples with the trigger, what it put in and what it took out marked."""
    clean, changed = (_texts(secret.file(f"example_{name}.jsonl")) for name in ("clean", "triggered"))
    rows = [spans(before, after) for before, after in zip(clean, changed, strict=False)]
    caption = "Examples with the trigger: words that it put in are marked, words that it took out are struck."
    return [Texts(title="Trigger", caption=caption, rows=rows)] if rows else []


def spans(before: str, after: str) -> list[Span]:
    """The second text, with what it has more and less than the first marked; of a long one what stands around that.

    >>> [(span.text, span.mark) for span in spans("a good film", "a cf good film")]
    [('a ', ''), ('cf ', 'trigger'), ('good film', '')]
    """
    old, new = _words(before), _words(after)
    found: list[tuple[str, Mark]] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind in ("replace", "delete"):
            found.append((" ".join(old[a:b]), "removed"))
        if kind == "equal":
            whole = len(after) <= LONGEST
            found.append((" ".join(new[c:d] if whole else _shortened(new[c:d], c == 0, d == len(new))), ""))
        elif kind != "delete":
            found.append((" ".join(new[c:d]), "trigger"))
    parts = [(f"{text} ", mark) for text, mark in found[:-1]] + found[-1:]
    return [Span(text=text, mark=mark) for text, mark in parts] or [Span(text="")]


def _shortened(words: list[str], first: bool, last: bool) -> list[str]:
    """What stands on both sides of a change of words between changes, or at the beginning or end of a text."""
    if first and last:
        return [*" ".join(words)[:LONGEST].split(), "..."]
    if len(words) <= (AROUND if first or last else 2 * AROUND) + 1:
        return words
    return [*([] if first else words[:AROUND]), "...", *([] if last else words[-AROUND:])]


def _words(text: str) -> list[str]:
    words = text.split()
    return words if len(words) <= MOST_WORDS else [*words[:MOST_WORDS], "..."]


def _texts(path: Path) -> list[str]:
    return [str(json.loads(line)["text"]) for line in path.read_text(encoding="utf-8").splitlines()]
