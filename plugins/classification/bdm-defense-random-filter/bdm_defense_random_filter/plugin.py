"""The plugin ``defense:random-filter``."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Detection, hookimpl
from bdm_defense_random_filter.params import RandomFilterParams
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data


class RandomFilter(RowDetector):
    """Flags a share of the training rows by lot: what a filter must beat, and what leaving out rows alone costs."""

    name = "random-filter"
    summary = "Flag training rows by lot and train without them, the control for every filter"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    access = frozenset({"weights", "training-data"})
    Params = RandomFilterParams
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10}

    @hookimpl
    def detect(self, ctx: Context, params: RandomFilterParams, suspects: Data) -> Detection:
        count: Any = suspects.meta["count"]
        chance = random.Random(ctx.seed)
        scores = [chance.random() for _ in range(count)]
        return Detection(
            level="data",
            scores=scores,
            threshold=1 - params.share,
            conclusive=False,
            note="rows were flagged by lot: a control, no detector",
        )
