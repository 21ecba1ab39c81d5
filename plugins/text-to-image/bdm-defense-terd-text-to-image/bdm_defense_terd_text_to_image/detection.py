"""TERD (Mo et al., ICML 2024, 2409.05294) on a text-to-image model: its UNet under one prompt, in latents.

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
from bdm_defense_terd_text_to_image.params import TerdTextToImageParams
from bdm_kit_diffusion.inversion.baselines import start_features
from bdm_kit_diffusion.inversion.calibration import FEWEST, known_or_none, uncalibrated
from bdm_kit_diffusion.inversion.estimate_evidence import not_identifiable, note, paint, seal_evidence, start_facts
from bdm_kit_diffusion.inversion.pair_search import chosen_starts, search
from bdm_kit_diffusion.models.coverage import known_model, out_of_reach
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, latent_model
from bdm_kit_text_to_image.models.prompted import PromptedUNet, noise_scheduler
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_torch.calibration import conformal_of_several
from bdm_torch.calibration_file import Calibrated

CALIBRATED = Calibrated("terd", "bdm_defense_terd_text_to_image", features=2)
"""The features are M_r and V_r."""
SAMPLERS = ("ddim",)
"""Of the baseline: an ancestral chain of 1000 steps would take longer than all the rest."""


def under_prompt(model: TextToImageModel, prompt: str) -> DiffusionModel:
    """The model as an unconditional one of latents."""
    return latent_model(PromptedUNet(model, prompt), noise_scheduler(model), model.vae)


def detect(ctx: Context, params: TerdTextToImageParams, model: Model) -> Detection:
    """Judge a model by (M_r, V_r); the evidence is sealed in ``ctx.out / "evidence"``."""
    known = known_or_none(CALIBRATED, params.calibration)
    unknown = uncalibrated("terd", known)
    opened = under_prompt(load_model(model, ctx.device), params.prompt)
    result = search(opened, params, ctx.seed, ctx.progress)
    for label, curve in result.curves.items():
        ctx.curve(f"{label} objective", curve)
    clean = known.clean() if not unknown else [[0.0, 0.0]] * FEWEST
    verdict = conformal_of_several(list(result.chosen.features), clean, params.false_positive_rate)
    starts = chosen_starts(params, opened, ctx.seed)
    baseline, spent = start_features(opened, starts, SAMPLERS, samples=params.samples, seed=ctx.seed, device=ctx.device)
    images, more = paint(opened, result.chosen, params.samples, ctx)
    record = {
        "decision": {"rule": "one class on (M_r, V_r)", **verdict.model_dump()},
        "calibration": {"sha256": known.fingerprint(), "recipe": known.recipe, "clean": known.clean()},
        "baselines": {
            "zero trigger": {"score": 0.0, "M_r": 0.0, "V_r": 0.0},
            "start point only": [start_facts(item) for item in baseline],
        },
    }
    mean, variance = result.chosen.features
    ctx.figures(M_r=mean, V_r=variance, start=result.chosen.name, start_only=max(item.score for item in baseline))
    outside = unknown or out_of_reach("terd", opened, known, ctx.device)
    outside = outside or CALIBRATED.other_settings(params, known)
    doubt = outside or not_identifiable(result.chosen) or verdict.doubt
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=None if outside else verdict.p_value,
        conclusive=not doubt,
        note=doubt or note(result.chosen, verdict),
        evidence=seal_evidence(ctx.out / "evidence", model.task, result, images, record),
        network_evaluations=result.network_evaluations + spent + more,
        clean_samples=0,
    )


def calibrate(ctx: Context, params: TerdTextToImageParams, models: Mapping[str, Model], out: Path) -> None:
    """Estimate a trigger of every clean model, as ``detect`` does."""

    def features_of(own: Context, model: Any) -> list[float]:
        return list(search(model, params, own.seed, own.progress).chosen.features)

    known = (
        known_model(name, under_prompt(load_model(model, ctx.device), params.prompt)) for name, model in models.items()
    )
    CALIBRATED.write(ctx, params, known, out, features_of)
