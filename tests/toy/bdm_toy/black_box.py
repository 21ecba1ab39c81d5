"""A toy defense that sees no weights."""

from __future__ import annotations

from bdm_core import Context, Data, Defense, Detection, Field, Params, hookimpl
from bdm_toy import memory


class ToyBlackBoxParams(Params):
    limit: float = Field(11.0, gt=0, description="Largest distance of an answer from all answers to clean data.")


class ToyBlackBox(Defense):
    """Asks the memory about clean data and about the suspects; an answer unlike the clean ones is suspicious."""

    name = "toy-black-box"
    summary = "Flag inputs with unheard-of answers"
    tasks = frozenset({memory.TASK})
    Params = ToyBlackBoxParams
    level = "input"
    access = frozenset({"predictions", "clean-data"})

    @hookimpl
    def detect(self, ctx: Context, params: ToyBlackBoxParams, data: Data, suspects: Data) -> Detection:
        keys = [{"key": row["key"]} for row in memory.read_rows(data)]
        clean = memory.read_rows(ctx.query(memory.seal_data(ctx.work / "clean", keys, "keys")))
        answers = memory.read_rows(ctx.query(suspects))
        usual = [{"key": row["value"]} for row in clean]
        return Detection(
            level="input",
            scores=[memory.nearest(row["value"], usual) for row in answers],
            threshold=params.limit,
            clean_samples=len(clean),
            network_evaluations=len(clean) + len(answers),
        )
