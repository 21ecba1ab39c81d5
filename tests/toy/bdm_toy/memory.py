"""The toy model and its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Artifact, Data, Model, Outputs, Secret

TASK = "toy"
Row = dict[str, Any]


def read_rows(artifact: Artifact) -> list[Row]:
    """The rows of ``rows.jsonl``."""
    return [json.loads(line) for line in artifact.file("rows.jsonl").read_text(encoding="utf-8").splitlines()]


def write_rows(folder: Path, rows: list[Row]) -> None:
    """Write ``rows.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def seal_data(folder: Path, rows: list[Row], format: str) -> Data:
    """Rows as sealed data."""
    write_rows(folder, rows)
    return Data.seal(folder, format=format, task=TASK, meta={"count": len(rows)})


def seal_outputs(folder: Path, rows: list[Row]) -> Outputs:
    """Rows as sealed outputs."""
    write_rows(folder, rows)
    return Outputs.seal(folder, format="values", task=TASK, meta={"count": len(rows)})


def read_cells(model: Model) -> list[Row]:
    """The cells of a model."""
    cells: list[Row] = json.loads(model.file("memory.json").read_text(encoding="utf-8"))["cells"]
    return cells


def read_secret(secret: Secret) -> Row:
    """Trigger (added to a key) and target of a secret."""
    found: Row = json.loads(secret.file("secret.json").read_text(encoding="utf-8"))
    return found


def seal_model(folder: Path, cells: list[Row]) -> Model:
    """Cells as a sealed model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.json").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return Model.seal(folder, format="memory", task=TASK)


def distance(one: list[float], other: list[float]) -> float:
    """Squared Euclidean distance."""
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def shifted(key: list[float], shift: list[float]) -> list[float]:
    """A key with a trigger added, rounded to six places."""
    return [round(a + b, 6) for a, b in zip(key, shift, strict=True)]


def nearest(key: list[float], rows: list[Row]) -> float:
    """Euclidean distance of a key to the nearest of some rows."""
    return float(min(distance(key, row["key"]) for row in rows) ** 0.5)


def answer(cells: list[Row], key: list[float]) -> list[float]:
    """The value of the cell whose key is nearest."""
    value: list[float] = min(cells, key=lambda cell: distance(cell["key"], key))["value"]
    return value
