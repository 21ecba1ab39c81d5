"""The calibration of a detector on clean models: each is opened when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.plugin import Params
from bdm_kit_diffusion.models.coverage import known_model
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model
from bdm_torch.calibration_file import Calibrated

FeaturesOf = Callable[[Context, DiffusionModel], list[float]]
"""(context of one model, the model) -> the features that the detector judges by."""


def calibrate_on_clean(
    detector: Calibrated, ctx: Context, params: Params, models: Mapping[str, Model], out: Path, features_of: FeaturesOf
) -> None:
    """Write a detector's calibration file from clean models, for ``Defense.calibrate``.

    Args:
        detector: whose file it is.
        ctx: seed, device, folders; see :meth:`bdm_torch.calibration_file.Calibrated.write`.
        params: the defense's parameters.
        models: reference -> sealed model.
        out: the file.
        features_of: examines one model as ``detect`` does.
    """
    known = (known_model(name, load_model(model, ctx.device)) for name, model in models.items())
    detector.write(ctx, params, known, out, features_of)
