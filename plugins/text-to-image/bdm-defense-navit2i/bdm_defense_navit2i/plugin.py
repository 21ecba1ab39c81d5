"""The plugin ``defense:navit2i``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_navit2i.params import NaviT2IParams
from bdm_kit_text_to_image.detection.fewest_captions import require_captions

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model, Purified


class NaviT2I(Defense):
    """Masks words one by one and flags prompts in which one of them moves the UNet far more than it means."""

    name = "navit2i"
    summary = "Flag prompts in which one masked word moves the activations of the first step more than it means"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2503.06453"
    level = "input"
    access = frozenset({"weights", "clean-data"})
    Params = NaviT2IParams
    tiny_params = {"clean_prompts": 12}

    def check(self, params: NaviT2IParams, clean_rows: int) -> None:
        """Refuse too few captions."""
        require_captions(self, params, clean_rows)

    def check_model(self, params: NaviT2IParams, model: Model) -> None:
        """Refuse a reference that cannot be the model's base."""
        from bdm_kit_text_to_image.models.bases import require_base

        require_base(params.reference, model)

    @hookimpl
    def detect(self, ctx: Context, params: NaviT2IParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_navit2i.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import detect_prompts

        return detect_prompts(ctx, params, data, suspects, statistics(ctx, params, model))

    @hookimpl
    def purify_inputs(
        self,
        ctx: Context,
        params: NaviT2IParams,
        model: Model,
        data: Data,
        inputs: Data,
        detection: Detection | None,
    ) -> Purified:
        from bdm_defense_navit2i.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import reject_prompts

        return reject_prompts(ctx, params, data, inputs, detection, lambda own, _: statistics(own, params, model))
