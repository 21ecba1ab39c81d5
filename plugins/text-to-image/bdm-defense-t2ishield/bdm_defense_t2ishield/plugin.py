"""The plugin ``defense:t2ishield``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_t2ishield.params import T2IShieldParams
from bdm_kit_text_to_image.detection.fewest_captions import require_captions

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model, Purified


class T2IShield(Defense):
    """Flags prompts by their attention maps (FTT, CDA), finds the trigger in them, and edits it away."""

    name = "t2ishield"
    summary = (
        "Flag prompts whose attention maps are all alike, find the trigger in them, edit it out of keys and values"
    )
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2407.04215"
    level = "input"
    access = frozenset({"weights", "clean-data"})
    Params = T2IShieldParams
    tiny_params = {"clean_prompts": 12, "steps": 2, "most_localised": 2, "similarity_captions": 4}

    def check(self, params: T2IShieldParams, clean_rows: int) -> None:
        """Refuse too few captions, features that cannot be had, and examples that are none."""
        from bdm_defense_t2ishield.detection import read_examples
        from bdm_kit_text_to_image.judging.features import require_features

        require_captions(self, params, clean_rows)
        require_features(params.features)
        if params.method == "cda" and params.examples:
            read_examples(params.examples)

    def check_model(self, params: T2IShieldParams, model: Model) -> None:
        """Refuse a reference that cannot be the model's base."""
        from bdm_kit_text_to_image.models.bases import require_base

        require_base(params.reference, model)

    @hookimpl
    def detect(self, ctx: Context, params: T2IShieldParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_t2ishield.detection import detect

        return detect(ctx, params, model, data, suspects)

    @hookimpl
    def purify_inputs(
        self,
        ctx: Context,
        params: T2IShieldParams,
        model: Model,
        data: Data,
        inputs: Data,
        detection: Detection | None,
    ) -> Purified:
        from bdm_defense_t2ishield.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import reject_prompts

        return reject_prompts(ctx, params, data, inputs, detection, lambda own, _: statistics(own, params, model, data))

    @hookimpl
    def repair(
        self, ctx: Context, params: T2IShieldParams, model: Model, data: Data, detection: Detection | None
    ) -> Model:
        from bdm_defense_t2ishield.mitigation import repair

        return repair(ctx, params, model, data, detection)
