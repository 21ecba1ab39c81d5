"""The features of clean models, each compared with the public one that it was made from, for the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_reference_audit.audit import audit
from bdm_defense_reference_audit.detection import CALIBRATED
from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_defense_reference_audit.reference import load_reference, no_parent
from bdm_kit_diffusion.inversion.calibration import calibrate_on_clean
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel


def calibrate(ctx: Context, params: ReferenceAuditParams, models: Mapping[str, Model], out: Path) -> None:
    """Compare every clean model with its reference, as ``detect`` does.

    Raises:
        UserError: a model's reference is not what it was made from: its score would say nothing of those that are.
    """

    def features_of(own: Context, model: DiffusionModel) -> list[float]:
        reference, name = load_reference(own.work, own.device, params.reference, model)
        if refused := no_parent(model, reference, name):
            raise UserError(f"reference-audit cannot calibrate with this model: {refused}")
        return audit(Pair(model, reference, own.seed, own.device), params, own.progress).features

    calibrate_on_clean(CALIBRATED, ctx, params, models, out, features_of)
