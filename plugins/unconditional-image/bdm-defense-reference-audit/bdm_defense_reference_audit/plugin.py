"""The plugin ``defense:reference-audit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core.plugin import Defense, hookimpl
from bdm_defense_reference_audit.params import ReferenceAuditParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Model
    from bdm_core.context import Context
    from bdm_core.records import Detection


class ReferenceAudit(Defense):
    """Compares a model with the public one it was made from, and trains what only the suspect does out of it."""

    name = "reference-audit"
    summary = "Compare a diffusion model with the public one it was made from: find, judge and remove what was added"
    tasks = frozenset({"unconditional-image-generation"})
    level = "model"
    Params = ReferenceAuditParams

    @hookimpl
    def detect(self, ctx: Context, params: ReferenceAuditParams, model: Model) -> Detection:
        from bdm_defense_reference_audit.detection import detect

        return detect(ctx, params, model)

    @hookimpl
    def repair(
        self, ctx: Context, params: ReferenceAuditParams, model: Model, data: Data, detection: Detection | None
    ) -> Model:
        from bdm_defense_reference_audit.repair import repair

        return repair(ctx, params, model, data, detection)
