"""The plugin ``defense:elijah`` of the task text-to-image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_elijah_text_to_image.params import ElijahTextToImageParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Elijah(Defense):
    """Inverts a trigger in the initial latents, decides by what it generates, and removes the backdoor."""

    name = "elijah"
    summary = "Invert a trigger in the initial latents, judge the model by what it generates, train the trigger away"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2312.00050"
    level = "model"
    least_clean_models = 3
    access = frozenset({"weights", "clean-data"})
    distributed = True
    Params = ElijahTextToImageParams
    tiny_params = {
        "starts": "published",
        "inversion_steps": [2, 1],
        "screening_steps": 1,
        "screening_batch": 2,
        "noise_batch": 2,
        "sampling_steps": 2,
        "samples": 8,
        "steps": 2,
        "batch_size": 4,
        "trigger_batch": 2,
    }

    def check(self, params: ElijahTextToImageParams, clean_rows: int) -> None:
        """Refuse LPIPS where it is not installed, and a calibration that is none."""
        from bdm_defense_elijah_text_to_image.detection import CALIBRATED
        from bdm_kit_diffusion.inversion.candidate_images import require_distance

        require_distance(params.distance)
        if params.calibration:
            CALIBRATED.read(params.calibration)

    @hookimpl
    def detect(self, ctx: Context, params: ElijahTextToImageParams, model: Model) -> Detection:
        from bdm_defense_elijah_text_to_image.detection import detect

        return detect(ctx, params, model)

    @hookimpl
    def repair(
        self, ctx: Context, params: ElijahTextToImageParams, model: Model, data: Data, detection: Detection | None
    ) -> Model:
        from bdm_defense_elijah_text_to_image.removal import repair

        return repair(ctx, params, model, data, detection)

    def calibrate(self, ctx: Context, params: ElijahTextToImageParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_elijah_text_to_image.detection import calibrate

        calibrate(ctx, params, models, out)
