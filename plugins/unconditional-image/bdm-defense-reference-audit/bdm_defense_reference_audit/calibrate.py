"""``python -m bdm_defense_reference_audit.calibrate``: scores of clean models, for the threshold.

A clean model is compared with the built-in one that it was made from. The shipped ``calibration.json`` says in
``recipe`` with which command it was made.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bdm_defense_reference_audit.audit import audit
from bdm_defense_reference_audit.detection import CALIBRATED
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_defense_reference_audit.plugin import ReferenceAudit
from bdm_defense_reference_audit.reference import load_reference
from bdm_kit_diffusion.models.clean_models import DIFFUSION_MODELS
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_torch.calibration_file import calibrate


def features_of(model: DiffusionModel, params: ReferenceAuditParams, seed: int, device: str) -> list[float]:
    """The score, alone in its list."""
    with tempfile.TemporaryDirectory() as folder:
        reference, _ = load_reference(Path(folder), device, params.reference, model)
    return [audit(model, reference, params, seed, device).score]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return calibrate(CALIBRATED, ReferenceAudit(), features_of, DIFFUSION_MODELS, arguments)


if __name__ == "__main__":
    sys.exit(main())
