"""WAV files with a player each, embedded as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from bdm_cli.html import numbers
from bdm_cli.html.markup import Html, tag

CLIP_LIMIT = 1_000_000
"""Bytes of one file: half a minute of 16-bit mono at 16 kHz."""
PAGE_LIMIT = 6_000_000
"""Bytes of all files of a page."""
COUNT_LIMIT = 16


class Player:
    """Draws the players of one page and stops embedding when the page has grown too large."""

    def __init__(self, room: int = PAGE_LIMIT) -> None:
        self._room = room

    def draw(self, paths: Sequence[Path], labels: Sequence[str], alt: str) -> Html:
        """One row for each file: a label and a player, or the reason why there is none."""
        rows = []
        for index, path in enumerate(paths[:COUNT_LIMIT]):
            label = labels[index] if index < len(labels) else ""
            rows.append(tag("li", tag("span", label or str(index + 1)), self._player(path, f"{alt}, {index + 1}")))
        left_out = len(paths) - len(rows)
        return tag(
            "div",
            tag("ul", rows, class_="audio"),
            tag("p", f"{left_out} further recordings are not shown.", class_="note") if left_out > 0 else None,
        )

    def _player(self, path: Path, alt: str) -> Html:
        try:
            size = path.stat().st_size
            if size > min(CLIP_LIMIT, self._room):
                return _without(f"{path.name} is too large for this page ({numbers.number(size / 1e6)} MB)")
            raw = path.read_bytes()
        except OSError as error:
            return _without(f"{path.name} cannot be read: {error.strerror or error}")
        if raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
            return _without(f"{path.name} is no WAV file")
        self._room -= size
        uri = "data:audio/wav;base64," + base64.b64encode(raw).decode("ascii")
        return tag("audio", controls=True, preload="metadata", src=uri, aria_label=alt)


def _without(reason: str) -> Html:
    return tag("span", reason, class_="faint")
