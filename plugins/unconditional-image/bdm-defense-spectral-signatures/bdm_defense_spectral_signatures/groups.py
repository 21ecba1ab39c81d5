"""Which rows of data are judged among themselves."""

from __future__ import annotations

from typing import Any


def groups_of(rows: list[dict[str, Any]], wanted: str) -> list[str]:
    """The group of each row: its label, if ``wanted`` is ``auto`` and every row has one; else "all"."""
    if wanted == "auto" and all("label" in row for row in rows):
        return [str(row["label"]) for row in rows]
    return ["all"] * len(rows)
