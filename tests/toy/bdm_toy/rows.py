"""A toy defense that judges training rows."""

from __future__ import annotations

import statistics

from bdm_core import Context, Data, Defense, Detection, Field, Model, Params, hookimpl
from bdm_toy import memory


class ToyRowsParams(Params):
    limit: float = Field(4.5, gt=0, description="Largest distance of a row's key from the median key of all rows.")


class ToyRows(Defense):
    """Flags training rows far from the median key, and forgets the cells that such rows put into the memory."""

    name = "toy-rows"
    summary = "Forget what outlying training rows taught"
    tasks = frozenset({memory.TASK})
    Params = ToyRowsParams
    level = "data"
    access = frozenset({"training-data", "weights"})

    @hookimpl
    def detect(self, params: ToyRowsParams, suspects: Data) -> Detection:
        return Detection(level="data", scores=self._scores(memory.read_rows(suspects)), threshold=params.limit)

    @hookimpl
    def repair(
        self, ctx: Context, params: ToyRowsParams, model: Model, detection: Detection | None, training_data: Data
    ) -> Model:
        rows = memory.read_rows(training_data)
        judged = detection is not None and detection.level == "data"
        scores = detection.scores if detection is not None and judged else self._scores(rows)
        limit = detection.threshold if detection is not None and judged else params.limit
        flagged = [row["key"] for row, score in zip(rows, scores, strict=True) if score > limit]
        kept = [cell for cell in memory.read_cells(model) if cell["key"] not in flagged]
        return memory.seal_model(ctx.out / "model", kept)

    @staticmethod
    def _scores(rows: list[memory.Row]) -> list[float]:
        middle = [statistics.median(row["key"][place] for row in rows) for place in range(4)]
        return [memory.distance(row["key"], middle) ** 0.5 for row in rows]
