"""Elijah (An et al., AAAI 2024, 2312.00050) on a text-to-image model: its UNet under one prompt, in latents.

A trigger in the initial latents works whatever the prompt says. So the UNet is taken under a fixed prompt, by default
the empty one, as an unconditional latent diffusion model; what is asked of it then is the unconditional method.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_elijah_text_to_image.params import ElijahTextToImageParams
from bdm_kit_diffusion.inversion.calibration import FEWEST, known_or_none, uncalibrated
from bdm_kit_diffusion.inversion.evidence import seal_trigger
from bdm_kit_diffusion.inversion.examination import examine, facts, not_identifiable, note
from bdm_kit_diffusion.models.coverage import known_model, out_of_reach
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, latent_model
from bdm_kit_text_to_image.models.prompted import PromptedUNet, noise_scheduler
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_torch.calibration import conformal, limit_of
from bdm_torch.calibration_file import Calibrated

CALIBRATED = Calibrated("elijah", "bdm_defense_elijah_text_to_image", features=2)
"""The features are those of the unconditional detector: the score, and the log of the total variation's ratio."""
SURE = 0.1
"""A flat candidate is believed above the limit that clean models exceed with this share of the false positive rate."""


def under_prompt(model: TextToImageModel, prompt: str) -> DiffusionModel:
    """The model as an unconditional one of latents."""
    return latent_model(PromptedUNet(model, prompt), noise_scheduler(model), model.vae)


def detect(ctx: Context, params: ElijahTextToImageParams, model: Model) -> Detection:
    """Judge a model; the evidence is sealed in ``ctx.out / "evidence"``."""
    known = known_or_none(CALIBRATED, params.calibration)
    unknown = uncalibrated("elijah", known)
    opened = under_prompt(load_model(model, ctx.device), params.prompt)
    result = examine(ctx, params, opened)
    ctx.curve("inversion objective", result.search.curve)
    clean = known.column() if not unknown else [0.0] * FEWEST
    verdict = conformal(result.features[0], clean, params.false_positive_rate, params.least_score)
    outside = unknown or out_of_reach("elijah", opened, known, ctx.device)
    outside = outside or CALIBRATED.other_settings(params, known)
    doubt = outside or not_identifiable(result, verdict, limit_of(clean, SURE * params.false_positive_rate))
    shown = opened.decode(result.images.images.to(ctx.device)).cpu()
    record = facts("threshold", known, result, verdict)
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=None if outside else verdict.p_value,
        conclusive=not doubt,
        note=doubt or note(result, verdict),
        evidence=seal_trigger(ctx.out / "evidence", model.task, {"trigger": result.candidate.trigger}, shown, record),
        network_evaluations=result.network_evaluations,
        clean_samples=0,
    )


def calibrate(ctx: Context, params: ElijahTextToImageParams, models: Mapping[str, Model], out: Path) -> None:
    """Examine clean models as ``detect`` does."""

    def features_of(own: Context, model: Any) -> list[float]:
        return examine(own, params, model).features

    known = (
        known_model(name, under_prompt(load_model(model, ctx.device), params.prompt)) for name, model in models.items()
    )
    CALIBRATED.write(ctx, params, known, out, features_of)
