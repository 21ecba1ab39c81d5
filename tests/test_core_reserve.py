"""A defender's rows come from the reserve of the data where they have one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bdm_core.artifacts import Data
from bdm_core.errors import UserError
from bdm_core.run.rows import Rows


def sealed(folder: Path, **meta: int) -> Data:
    folder.mkdir()
    (folder / "rows.jsonl").write_text("{}\n", encoding="utf-8")
    return Data.seal(folder, format="points", task="image-classification", meta=dict(meta))


def rows_drawn(tmp_path: Path, data: Data, share: float) -> list[int]:
    asked: list[list[int]] = []

    def run(hook: str, plugins: object, given: dict[str, Any], label: str) -> Data:
        asked.append(given["rows"])
        return sealed(tmp_path / f"chosen-{len(asked)}", count=len(given["rows"]))

    Rows(SimpleNamespace(run=run), SimpleNamespace(id="kit:points"), 0).drawn(data, share, "share")  # type: ignore[arg-type]
    return asked[0]


def test_rows_are_those_of_the_reserve(tmp_path: Path) -> None:
    data = sealed(tmp_path / "data", count=100, reserve=20)
    drawn = rows_drawn(tmp_path, data, 0.1)
    assert len(set(drawn)) == 10 and set(drawn) <= set(range(100, 120)) and drawn == sorted(drawn)


def test_without_a_reserve_they_are_of_the_data(tmp_path: Path) -> None:
    assert set(rows_drawn(tmp_path, sealed(tmp_path / "data", count=100), 0.1)) <= set(range(100))


def test_more_than_the_reserve_is_refused(tmp_path: Path) -> None:
    data = sealed(tmp_path / "data", count=100, reserve=20)
    with pytest.raises(UserError, match=r"data_share 0.3 asks for 30 rows, the data's reserve has 20"):
        rows_drawn(tmp_path, data, 0.3)
