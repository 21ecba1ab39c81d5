"""The plugin ``defense:text-to-image-audit``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
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
