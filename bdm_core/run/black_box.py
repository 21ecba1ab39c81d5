"""The model as a black box: a defense asks it through the kit and never sees its files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.context import Context
from bdm_core.discovery.candidates import scoped
from bdm_core.hooks import call
from bdm_core.plugin import Params

if TYPE_CHECKING:
    from bdm_core.run.preparation import Loaded


def deployed(params: Params) -> Params:
    """The kit's parameters with which the model is in use: those that count when it generates."""
    return params.for_stage("generate")


class BlackBox:
    """Answers ``ctx.query``.

    Args:
        kit: the task's kit, which runs the model.
        model: the model.
        ctx: the context of the stage that asks.
    """

    def __init__(self, kit: Loaded, model: Model, ctx: Context) -> None:
        self._manager = scoped(kit.plugin)
        self._model = model
        self._ctx = replace(ctx, stage="generate", kit=deployed(kit.params))
        self._calls = self._queries = 0

    def __call__(self, inputs: Data) -> Outputs:
        """The model's outputs for some inputs."""
        self._calls += 1
        self._queries += int(str(inputs.meta.get("count", 0)))
        folder = self._ctx.work.with_name("queries") / f"{self._calls:04d}"
        for name in ("out", "work"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        ctx = replace(self._ctx, out=folder / "out", work=folder / "work", seed=self._ctx.seed + self._calls)
        self._ctx.figures(queries=self._queries)
        outputs: Outputs = call(self._manager, "generate", ctx=ctx, model=self._model, inputs=inputs, secret=None)
        return outputs
