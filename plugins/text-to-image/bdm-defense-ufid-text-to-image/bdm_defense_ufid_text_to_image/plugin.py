"""The plugin ``defense:ufid`` of the task text-to-image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_ufid_text_to_image.params import UfidParams
from bdm_kit_text_to_image.detection.fewest_captions import require_captions

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Purified


class Ufid(Defense):
    """Puts phrases into every prompt, generates from the copies, and flags prompts whose pictures are all alike."""

    name = "ufid"
    summary = "Flag prompts whose copies with further phrases paint the same, by the density of their similarity graph"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2404.01101"
    level = "input"
    access = frozenset({"predictions", "clean-data"})
    Params = UfidParams
    tiny_params = {"clean_prompts": 6, "copies": 2}

    def check(self, params: UfidParams, clean_rows: int) -> None:
        """Refuse too few captions, and features that cannot be had."""
        from bdm_kit_text_to_image.judging.features import require_features

        require_captions(self, params, clean_rows)
        require_features(params.features)

    @hookimpl
    def detect(self, ctx: Context, params: UfidParams, data: Data, suspects: Data) -> Detection:
        from bdm_defense_ufid_text_to_image.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import detect_prompts
        from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts

        judged = [row.prompt for row in load_prompts(suspects)]
        return detect_prompts(ctx, params, data, suspects, statistics(ctx, params, data, judged))

    @hookimpl
    def purify_inputs(
        self, ctx: Context, params: UfidParams, data: Data, inputs: Data, detection: Detection | None
    ) -> Purified:
        from bdm_defense_ufid_text_to_image.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import reject_prompts

        return reject_prompts(
            ctx, params, data, inputs, detection, lambda own, judged: statistics(own, params, data, judged)
        )
