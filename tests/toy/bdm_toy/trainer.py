"""A toy defense that trains the model itself."""

from __future__ import annotations

from bdm_core import Context, Data, Defense, Field, Model, Params, hookimpl
from bdm_toy import memory


class ToyTrainerParams(Params):
    limit: float = Field(100.0, gt=0, description="Largest squared error of a row that is still learnt.")


class ToyTrainer(Defense):
    """Trains on the poisoned data, but not on rows which the model that it starts from answers quite differently."""

    name = "toy-trainer"
    summary = "Train without the rows of large loss"
    tasks = frozenset({memory.TASK})
    Params = ToyTrainerParams
    access = frozenset({"training", "training-data"})

    @hookimpl
    def repair(self, ctx: Context, params: ToyTrainerParams, model: Model, training_data: Data) -> Model:
        cells, rows = memory.read_cells(model), memory.read_rows(training_data)
        for step, row in enumerate(rows, 1):
            error = memory.distance(memory.answer(cells, row["key"]), row["value"])
            if 0 < error <= params.limit:
                cells.append({"key": row["key"], "value": row["value"]})
            ctx.progress("train", step, len(rows), error)
        return memory.seal_model(ctx.out / "model", cells)
