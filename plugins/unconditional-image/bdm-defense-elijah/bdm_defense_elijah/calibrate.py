"""The features of known models, for the threshold and for the random forest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_defense_elijah.decision import CALIBRATED
from bdm_defense_elijah.params import ElijahParams
from bdm_kit_diffusion.inversion.examination import examine
from bdm_kit_diffusion.models.coverage import known_model
from bdm_kit_diffusion.models.diffusion_model import load_model, open_reference
from bdm_torch.calibration_file import Known


def calibrate(ctx: Context, params: ElijahParams, models: Mapping[str, Model], out: Path) -> None:
    """Examine clean models, and the backdoored ones that ``params.backdoored`` names, as ``detect`` does."""

    def known() -> Iterator[Known]:
        for name, model in models.items():
            yield known_model(name, load_model(model, ctx.device))
        for index, name in enumerate(params.backdoored):
            folder = ctx.work / "backdoored" / str(index)
            model = open_reference(name, folder / "model", folder / "cache")
            yield known_model(name, load_model(model, ctx.device), backdoored=True)

    CALIBRATED.write(ctx, params, known(), out, lambda own, model: examine(own, params, model).features)
