"""The plugin ``defense:prompt-audit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_prompt_audit.params import PromptAuditParams
from bdm_kit_text_to_image.detection.fewest_captions import LEAST, require_captions

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model, Purified


class PromptAudit(Defense):
    """Signals of a triggered prompt, one-class on clean prompts of the suspect model."""

    name = "prompt-audit"
    summary = "Flag prompts by words that move much, phrases that move nothing, attention, spikes, change from a base"
    tasks = frozenset({"text-to-image"})
    paper = ""
    level = "input"
    access = frozenset({"weights", "clean-data"})
    Params = PromptAuditParams
    tiny_params = {"clean_prompts": 12}

    def check(self, params: PromptAuditParams, clean_rows: int) -> None:
        """Refuse too few captions, and a folder without a contrastive model."""
        from bdm_defense_prompt_audit.detection import contrastive_folder
        from bdm_kit_text_to_image.judging.contrastive import require_contrastive

        require_captions(self, params, clean_rows, spare=LEAST)
        if params.mismatch_steps and params.contrastive:
            require_contrastive(contrastive_folder(params))

    def check_model(self, params: PromptAuditParams, model: Model) -> None:
        """Refuse a reference that cannot be the model's base."""
        from bdm_kit_text_to_image.models.bases import require_base

        require_base(params.reference, model)

    @hookimpl
    def detect(self, ctx: Context, params: PromptAuditParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_prompt_audit.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import detect_prompts
        from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts

        judged = [row.prompt for row in load_prompts(suspects)]
        return detect_prompts(ctx, params, data, suspects, statistics(ctx, params, model, data, judged))

    @hookimpl
    def purify_inputs(
        self,
        ctx: Context,
        params: PromptAuditParams,
        model: Model,
        data: Data,
        inputs: Data,
        detection: Detection | None,
    ) -> Purified:
        from bdm_defense_prompt_audit.detection import statistics
        from bdm_kit_text_to_image.detection.prompts import reject_prompts

        return reject_prompts(
            ctx, params, data, inputs, detection, lambda own, judged: statistics(own, params, model, data, judged)
        )
