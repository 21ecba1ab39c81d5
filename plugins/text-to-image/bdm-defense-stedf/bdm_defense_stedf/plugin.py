"""The plugin ``defense:stedf``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_stedf.params import StedfParams
from bdm_kit_text_to_image.detection.fewest_captions import require_captions

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Stedf(Defense):
    """Upper bound, triggers known: a classifier that was trained on the very triggers that it is to find."""

    name = "stedf"
    summary = "Upper bound, triggers known: a supervised classifier of the UNet's first steps, trained on the triggers"
    tasks = frozenset({"text-to-image"})
    paper = "https://github.com/huangfei4523-cmd/STEDiff-MMDiT"
    level = "input"
    access = frozenset({"weights", "clean-data"})
    Params = StedfParams
    tiny_params = {
        "clean_prompts": 8,
        "training_captions": 8,
        "steps": 2,
        "widths": [8],
        "training_steps": 2,
    }

    def check(self, params: StedfParams, clean_rows: int) -> None:
        """Refuse too few captions."""
        require_captions(self, params, clean_rows, spare=8)

    @hookimpl
    def detect(self, ctx: Context, params: StedfParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_stedf.detection import detect

        return detect(ctx, params, model, data, suspects)
