"""The toy defense."""

from __future__ import annotations

import json

from bdm_core.artifacts import Data, Detection, Evidence, Model
from bdm_core.context import Context
from bdm_core.plugin import Field, Params, Plugin, hookimpl
from bdm_toy import memory


class ToyDefenseParams(Params):
    limit: float = Field(
        4.5, gt=0, description="Largest distance of a cell from clean data that still counts as clean."
    )


class ToyDefense(Plugin):
    """Flags a memory with a cell far from all clean data, and forgets such cells."""

    kind = "defense"
    name = "toy"
    summary = "Forget what lies far from clean data"
    tasks = frozenset({memory.TASK})
    Params = ToyDefenseParams
    level = "model"

    @hookimpl
    def detect(self, ctx: Context, params: ToyDefenseParams, model: Model, data: Data) -> Detection:
        rows, cells = memory.read_rows(data), memory.read_cells(model)
        distances = [self._distance(cell, rows) for cell in cells]
        ctx.progress("measure", len(cells), len(cells))
        far = [cell for cell, value in zip(cells, distances, strict=True) if value > params.limit]
        (ctx.out / "evidence").mkdir()
        (ctx.out / "evidence" / "far.json").write_text(json.dumps(far), encoding="utf-8")
        score = max(distances)
        return Detection(
            level="model",
            scores=[score],
            threshold=params.limit,
            p_value=1.0 if score <= params.limit else 0.01,
            evidence=Evidence.seal(ctx.out / "evidence", format="cells", task=memory.TASK),
            clean_samples=len(rows),
        )

    @hookimpl
    def repair(self, ctx: Context, params: ToyDefenseParams, model: Model, data: Data) -> Model:
        rows = memory.read_rows(data)
        kept = [cell for cell in memory.read_cells(model) if self._distance(cell, rows) <= params.limit]
        return memory.seal_model(ctx.out / "model", kept)

    @staticmethod
    def _distance(cell: memory.Row, rows: list[memory.Row]) -> float:
        return float(min(memory.distance(cell["key"], row["key"]) for row in rows) ** 0.5)
