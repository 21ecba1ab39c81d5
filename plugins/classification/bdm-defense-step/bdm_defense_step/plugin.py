"""The plugin ``defense:step``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_step.params import StepParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Purified


class StabilityProfiling(Defense):
    """STEP (Wang et al. 2026): a triggered recording keeps its label where it should lose it, or the reverse."""

    name = "step"
    summary = "STEP: flag inputs whose label is too stable without the content, or too fragile with it"
    tasks = frozenset({"audio-classification"})
    paper = "https://arxiv.org/abs/2603.18103"
    level = "input"
    access = frozenset({"predictions", "clean-data"})
    Params = StepParams
    tiny_params: ClassVar[dict[str, Any]] = {"pieces": [4], "orders": 1}

    def check(self, params: StepParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: StepParams, data: Data, suspects: Data) -> Detection:
        from bdm_defense_step.detection import detect

        return detect(ctx, params, data, suspects)

    @hookimpl
    def purify_inputs(self, ctx: Context, params: StepParams, data: Data, inputs: Data) -> Purified:
        from bdm_defense_step.detection import reject

        return reject(ctx, params, data, inputs)
