"""The plugin ``defense:scaling-offset``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_scaling_offset.params import ScalingOffsetParams
from bdm_kit_text_to_image.detection.fewest_captions import require_captions

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model, Purified


class ScalingOffset(Defense):
    """Scales cross-attention, learns from clean prompts how far that moves the prediction, flags what is unlike."""

    name = "scaling-offset"
    summary = "Flag prompts whose predicted noise answers to scaled cross-attention otherwise than that of clean ones"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2604.12446"
    level = "input"
    access = frozenset({"weights", "clean-data"})
    Params = ScalingOffsetParams
    tiny_params = {"clean_prompts": 12}

    def check(self, params: ScalingOffsetParams, clean_rows: int) -> None:
        """Refuse too few captions."""
        require_captions(self, params, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: ScalingOffsetParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_scaling_offset.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import detect_prompts

        return detect_prompts(ctx, params, data, suspects, statistics(ctx, params, model))

    @hookimpl
    def purify_inputs(
        self,
        ctx: Context,
        params: ScalingOffsetParams,
        model: Model,
        data: Data,
        inputs: Data,
        detection: Detection | None,
    ) -> Purified:
        from bdm_defense_scaling_offset.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import reject_prompts

        return reject_prompts(ctx, params, data, inputs, detection, lambda own, _: statistics(own, params, model))
