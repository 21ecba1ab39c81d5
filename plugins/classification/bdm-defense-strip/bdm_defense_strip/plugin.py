"""The plugin ``defense:strip``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_strip.params import PAPER, StripParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Purified


class Strip(Defense):
    """Blends every input with clean samples and flags those whose predictions stay certain."""

    name = "strip"
    summary = "Flag inputs whose prediction survives superimposed clean samples, by its entropy"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/1902.06531"
    level = "input"
    access = frozenset({"predictions", "clean-data"})
    Params = StripParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"copies": 4}

    def check(self, params: StripParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: StripParams, data: Data, suspects: Data) -> Detection:
        from bdm_defense_strip.detection import detect

        return detect(ctx, params, data, suspects)

    @hookimpl
    def purify_inputs(self, ctx: Context, params: StripParams, data: Data, inputs: Data) -> Purified:
        from bdm_defense_strip.detection import reject

        return reject(ctx, params, data, inputs)
