"""The plugin ``defense:reference-audit``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_reference_audit.params import ReferenceAuditParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class ReferenceAudit(Defense):
    """Compares a model with the public one it was made from, and trains what only the suspect does out of it."""

    name = "reference-audit"
    summary = "Compare a diffusion model with the public one it was made from: find, judge and remove what was added"
    tasks = frozenset({"unconditional-image-generation"})
    level = "model"
    least_clean_models = 3
    access = frozenset({"weights", "clean-data", "reference"})
    Params = ReferenceAuditParams

    def check(self, params: ReferenceAuditParams, clean_rows: int) -> None:
        """Refuse a calibration that is none."""
        from bdm_defense_reference_audit.detection import CALIBRATED

        if params.calibration:
            CALIBRATED.read(params.calibration)

    def check_model(self, params: ReferenceAuditParams, model: Model) -> None:
        """Refuse a reference that is no model, and none where no built-in model fits."""
        from bdm_defense_reference_audit.reference import require_reference

        require_reference(params.reference, model)

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

    def calibrate(self, ctx: Context, params: ReferenceAuditParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_reference_audit.calibrate import calibrate

        calibrate(ctx, params, models, out)
