"""The toy defense."""

from __future__ import annotations

import json

from bdm_core import Context, Data, Defense, Detection, Evidence, Field, Model, Params, hookimpl
from bdm_toy import memory


class ToyDefenseParams(Params):
    limit: float = Field(
        4.5, gt=0, description="Largest distance of a cell from clean data that still counts as clean."
    )


class ToyDefense(Defense):
    """Flags a memory with a cell far from all clean data, and forgets such cells."""

    name = "toy"
    summary = "Forget what lies far from clean data"
    tasks = frozenset({memory.TASK})
    Params = ToyDefenseParams
    level = "model"
    access = frozenset({"weights", "clean-data"})

    @hookimpl
    def detect(self, ctx: Context, params: ToyDefenseParams, model: Model, data: Data) -> Detection:
        rows, cells = memory.read_rows(data), memory.read_cells(model)
        distances = [memory.nearest(cell["key"], rows) for cell in cells]
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
        kept = [cell for cell in memory.read_cells(model) if memory.nearest(cell["key"], rows) <= params.limit]
        return memory.seal_model(ctx.out / "model", kept)
