"""The calibration of a detector on clean models: each is opened when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.plugin import Params
from bdm_kit_diffusion.models.coverage import known_model
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model
from bdm_torch.calibration_file import Calibrated, Calibration

FEWEST = 3
"""Clean models without which nothing is judged."""
FeaturesOf = Callable[[Context, DiffusionModel], list[float]]
"""(context of one model, the model) -> the features that the detector judges by."""


def known_or_none(detector: Calibrated, path: str) -> Calibration:
    """The calibration at ``path``, else the one that is shipped; without either one that has no models in it.

    >>> known_or_none(Calibrated(name="mine", package="bdm_torch"), "").records
    []
    """
    if path or detector.shipped.is_file():
        return detector.read(path)
    return Calibration(recipe="none is shipped", configuration={}, records=[])


def uncalibrated(method: str, known: Calibration) -> str:
    """Why a method that has too few clean models to compare with cannot tell; "" if it has enough.

    >>> uncalibrated("mine", Calibration(recipe="none is shipped", configuration={}, records=[]))[:11]
    'cannot tell'
    """
    if len(known.clean()) >= FEWEST:
        return ""
    return (
        f"cannot tell: no clean models are known to compare with; calibrate with {FEWEST} or more of this kind, "
        f"`bdm calibrate {method} --task text-to-image --model ... --out FILE`, and use it by "
        f"--set defense:{method}.calibration=FILE"
    )


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

    >>> from bdm_kit_diffusion.models.diffusion_model import open_reference
    >>> models = {"digits-tiny": open_reference("digits-tiny", Path("model"), Path("cache"))}
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> detector = Calibrated(name="mine", package="bdm_torch")
    >>> constant = lambda ctx, model: [float(model.timesteps > 0)]
    >>> calibrate_on_clean(detector, ctx, Params(), models, Path("calibration.json"), constant)
    >>> known = detector.read("calibration.json")
    >>> known.column(), known.records[0].shape, known.records[0].traits["space"]
    ([1.0], (1, 8, 8), 'pixels')
    """
    known = (known_model(name, load_model(model, ctx.device)) for name, model in models.items())
    detector.write(ctx, params, known, out, features_of)
