"""A toy defense that turns inputs away."""

from __future__ import annotations

from bdm_core import Context, Data, Defense, Field, Params, Purified, hookimpl
from bdm_toy import memory


class ToyFilterParams(Params):
    limit: float = Field(4.5, gt=0, description="Largest distance of an input's key from clean data.")


class ToyFilter(Defense):
    """Rejects inputs that lie far from all clean data; the others pass unchanged."""

    name = "toy-filter"
    summary = "Reject inputs far from clean data"
    tasks = frozenset({memory.TASK})
    Params = ToyFilterParams
    level = "input"
    access = frozenset({"clean-data"})

    @hookimpl
    def purify_inputs(self, ctx: Context, params: ToyFilterParams, data: Data, inputs: Data) -> Purified:
        clean, rows = memory.read_rows(data), memory.read_rows(inputs)
        rejected = [memory.nearest(row["key"], clean) > params.limit for row in rows]
        return Purified(inputs=memory.seal_data(ctx.out / "data", rows, inputs.format), rejected=rejected)
