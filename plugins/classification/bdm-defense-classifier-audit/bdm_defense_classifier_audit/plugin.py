"""The plugin ``defense:classifier-audit``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_classifier_audit.params import ClassifierAuditParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class ClassifierAudit(Defense):
    """Compares how easily every picture is led to each class with how easily it is in a model without a backdoor."""

    name = "classifier-audit"
    summary = "Audit a classifier with a few clean pictures: whether one class is reached far more easily"
    tasks = frozenset({"image-classification"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    least_clean_models = 3
    Params = ClassifierAuditParams
    tiny_params: ClassVar[dict[str, Any]] = {
        "patch_steps": 2,
        "steps": 2,
        "warp_steps": 2,
        "spectrum_steps": 2,
        "baseline_epochs": 1,
    }

    def check(self, params: ClassifierAuditParams, clean_rows: int) -> None:
        """Refuse a calibration that is none."""
        from bdm_defense_classifier_audit.decision import CALIBRATED

        if params.calibration:
            CALIBRATED.read(params.calibration)

    def check_model(self, params: ClassifierAuditParams, model: Model) -> None:
        """Refuse a reference that is no classifier; of the Hub nothing is fetched."""
        from bdm_kit_classification.models.folders import find_model
        from bdm_torch.references import parse_hub_reference

        if params.reference and parse_hub_reference(params.reference) is None:
            find_model(params.reference, Path())

    @hookimpl
    def detect(self, ctx: Context, params: ClassifierAuditParams, model: Model, data: Data) -> Detection:
        from bdm_defense_classifier_audit.detection import detect

        return detect(ctx, params, model, data)

    def calibrate(self, ctx: Context, params: ClassifierAuditParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_classifier_audit.detection import calibrate

        calibrate(ctx, params, models, out)
