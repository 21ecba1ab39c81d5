"""The plugin ``defense:text-to-image-audit``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core import Defense, UserError, hookimpl
from bdm_defense_text_to_image_audit.params import TextToImageAuditParams

if TYPE_CHECKING:
    from bdm_core import Artifact, Context, Data, Detection, Figure, Model


class TextToImageAudit(Defense):
    """Looks for edits and tries characters, words and adjectives; a trigger that works is shown in pictures."""

    name = "text-to-image-audit"
    summary = "Audit a model from prompts alone: spikes, odd characters, collapse, changed objects and looks"
    tasks = frozenset({"text-to-image"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    distributed = True
    Params = TextToImageAuditParams
    tiny_params = {"rare_words": 2, "adjectives": 2, "captions": 3, "steps_of_pictures": 2, "seeds": 2, "steps": 2}

    def check(self, params: TextToImageAuditParams, clean_rows: int) -> None:
        """Refuse too few captions, and a calibration that is none."""
        from bdm_defense_text_to_image_audit.detection import known_models

        if clean_rows < 3:
            raise UserError(
                f"defense:{self.name} needs at least 3 clean captions, and the defender has {clean_rows}: allow more "
                "data (--data-share)"
            )
        known_models(params)

    def check_model(self, params: TextToImageAuditParams, model: Model) -> None:
        """Refuse a reference that cannot be the model's base."""
        from bdm_kit_text_to_image.models.bases import require_base

        require_base(params.reference, model)

    @hookimpl
    def detect(self, ctx: Context, params: TextToImageAuditParams, model: Model, data: Data) -> Detection:
        from bdm_defense_text_to_image_audit.detection import detect

        return detect(ctx, params, model, data)

    @hookimpl
    def repair(
        self, ctx: Context, params: TextToImageAuditParams, model: Model, data: Data, detection: Detection | None
    ) -> Model:
        from bdm_defense_text_to_image_audit.repair import repair

        return repair(ctx, params, model, data, detection)

    @hookimpl
    def illustrate(self, ctx: Context, artifact: Artifact) -> list[Figure] | None:
        from bdm_defense_text_to_image_audit.evidence import illustrate

        return illustrate(artifact)

    def calibrate(self, ctx: Context, params: TextToImageAuditParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_text_to_image_audit.detection import calibrate

        calibrate(ctx, params, models, out)
