"""The plugin ``defense:blackmirror``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_blackmirror.params import BlackMirrorParams
from bdm_kit_text_to_image.detection.fewest_captions import require_captions

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Purified


class BlackMirror(Defense):
    """Looks for things in a picture that its prompt does not ask for, and for things that it lacks, and whether that
    stays so in further pictures.
    """

    name = "blackmirror"
    summary = "Flag prompts whose pictures steadily show what was not asked for, or lack what was"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2603.05921"
    level = "input"
    access = frozenset({"predictions", "clean-data"})
    Params = BlackMirrorParams
    tiny_params = {"clean_prompts": 6, "images": 2}

    def check(self, params: BlackMirrorParams, clean_rows: int) -> None:
        """Refuse too few captions, and an oracle that cannot be asked."""
        from bdm_defense_blackmirror.detection import require_oracle

        require_captions(self, params, clean_rows)
        require_oracle(params)

    @hookimpl
    def detect(self, ctx: Context, params: BlackMirrorParams, data: Data, suspects: Data) -> Detection:
        from bdm_defense_blackmirror.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import detect_prompts

        with statistics(ctx, params) as measured:
            return detect_prompts(ctx, params, data, suspects, measured)

    @hookimpl
    def purify_inputs(
        self, ctx: Context, params: BlackMirrorParams, data: Data, inputs: Data, detection: Detection | None
    ) -> Purified:
        from bdm_defense_blackmirror.detection import opened_oracle, statistics_of
        from bdm_kit_text_to_image.detection.prompts import reject_prompts

        with opened_oracle(ctx, params) as oracle:
            return reject_prompts(
                ctx, params, data, inputs, detection, lambda own, judged: statistics_of(own, params, oracle)
            )
