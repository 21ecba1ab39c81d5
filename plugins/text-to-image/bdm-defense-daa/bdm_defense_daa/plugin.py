"""The plugin ``defense:daa``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_daa.params import DaaParams
from bdm_kit_text_to_image.detection.fewest_captions import require_captions

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model, Purified


class Daa(Defense):
    """Compares how the attention to the end of a prompt moves over the first steps with that to its words."""

    name = "daa"
    summary = "Flag prompts whose end token gets an attention that moves otherwise than the words' over the first steps"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2504.20518"
    level = "input"
    access = frozenset({"weights", "clean-data"})
    Params = DaaParams
    tiny_params = {"clean_prompts": 12}

    def check(self, params: DaaParams, clean_rows: int) -> None:
        """Refuse too few captions."""
        require_captions(self, params, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: DaaParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_daa.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import detect_prompts

        return detect_prompts(ctx, params, data, suspects, statistics(ctx, params, model))

    @hookimpl
    def purify_inputs(
        self,
        ctx: Context,
        params: DaaParams,
        model: Model,
        data: Data,
        inputs: Data,
        detection: Detection | None,
    ) -> Purified:
        from bdm_defense_daa.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import reject_prompts

        return reject_prompts(ctx, params, data, inputs, detection, lambda own, _: statistics(own, params, model))
