"""The plugin ``defense:elijah``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core import Defense, hookimpl
from bdm_defense_elijah.params import ElijahParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Elijah(Defense):
    """Inverts the trigger, decides by the diversity of the images that it generates, and removes the backdoor."""

    name = "elijah"
    summary = "Invert the trigger of a diffusion model, judge the model by what it generates, train the trigger away"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2312.00050"
    level = "model"
    least_clean_models = 3
    access = frozenset({"weights", "clean-data"})
    distributed = True
    Params = ElijahParams
    presets: dict[str, dict[str, Any]] = {
        "paper": {
            "starts": "published",
            "inversion_steps": (100, 10),
            "stretches": (1.0,),
            "largest_rms": 1e6,
            "screening_steps": 0,
            "noise_batch": 100,
            "antithetic": False,
            "distance": "lpips",
            "steps": 430,
            "batch_size": 128,
            "learning_rate": 2e-4,
            "ema_decay": None,
            "anchors": "published",
            "trigger_batch": 128,
            "denoising_weight": 1.0,
            "trigger_weight": 1.0,
        },
    }

    def check(self, params: ElijahParams, clean_rows: int) -> None:
        """Refuse LPIPS where it is not installed, and a calibration that is none or knows too few for the forest."""
        from bdm_defense_elijah.decision import CALIBRATED, require_both_kinds
        from bdm_kit_diffusion.inversion.candidate_images import require_distance

        require_distance(params.distance)
        known = CALIBRATED.read(params.calibration)
        if params.decision == "random-forest":
            require_both_kinds(known)

    @hookimpl
    def detect(self, ctx: Context, params: ElijahParams, model: Model) -> Detection:
        from bdm_defense_elijah.detection import detect

        return detect(ctx, params, model)

    @hookimpl
    def repair(
        self, ctx: Context, params: ElijahParams, model: Model, data: Data, detection: Detection | None
    ) -> Model:
        from bdm_defense_elijah.removal import repair

        return repair(ctx, params, model, data, detection)

    def calibrate(self, ctx: Context, params: ElijahParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_elijah.calibrate import calibrate

        calibrate(ctx, params, models, out)
