"""The plugin ``defense:temporal-noise``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_temporal_noise.params import TemporalNoiseParams
from bdm_kit_text_to_image.detection.fewest_captions import require_captions

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model, Purified


class TemporalNoise(Defense):
    """Learns from clean prompts how much the predicted noise changes from step to step, and flags what is unlike."""

    name = "temporal-noise"
    summary = "Flag prompts whose predicted noise changes from step to step otherwise than that of clean ones"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2602.01765"
    level = "input"
    access = frozenset({"weights", "clean-data"})
    Params = TemporalNoiseParams
    tiny_params = {"clean_prompts": 12}

    def check(self, params: TemporalNoiseParams, clean_rows: int) -> None:
        """Refuse too few captions."""
        require_captions(self, params, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: TemporalNoiseParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_temporal_noise.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import detect_prompts

        return detect_prompts(ctx, params, data, suspects, statistics(ctx, params, model))

    @hookimpl
    def purify_inputs(
        self,
        ctx: Context,
        params: TemporalNoiseParams,
        model: Model,
        data: Data,
        inputs: Data,
        detection: Detection | None,
    ) -> Purified:
        from bdm_defense_temporal_noise.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import reject_prompts

        return reject_prompts(ctx, params, data, inputs, detection, lambda own, _: statistics(own, params, model))
