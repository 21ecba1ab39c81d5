"""Detection of a backdoored model, and the evidence that both levels of detection leave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Evidence, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_terd.decision import CALIBRATED, decide
from bdm_defense_terd.params import TerdParams
from bdm_defense_terd.search import Candidate, Search, chosen_starts, search
from bdm_diffusers.samplers import build_scheduler, default_steps
from bdm_diffusers.sampling import draw_noise, sample
from bdm_kit_diffusion.inversion.baselines import StartFeatures, start_features
from bdm_kit_diffusion.inversion.evidence import seal_trigger
from bdm_kit_diffusion.models.coverage import out_of_reach
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model
from bdm_torch.calibration import Verdict

SAMPLERS = ("ddpm", "ddim")
"""The baseline tries one sampler of either class."""


def detect(ctx: Context, params: TerdParams, model: Model) -> Detection:
    """Judge a model by (M_r, V_r); the evidence is sealed in ``ctx.out / "evidence"``."""
    known = CALIBRATED.read(params.calibration)
    opened = load_model(model, ctx.device)
    result = search(opened, params, ctx.seed, ctx.progress)
    for label, curve in result.curves.items():
        ctx.curve(f"{label} objective", curve)
    verdict = decide(result.chosen.features, known, params.false_positive_rate)
    for line in CALIBRATED.warnings(params, known):
        ctx.log.warning(line)
    baseline, spent = start_features(
        opened,
        chosen_starts(params, opened, ctx.seed),
        SAMPLERS,
        samples=params.samples,
        seed=ctx.seed,
        device=ctx.device,
        on_step=lambda done, total: ctx.progress("start only", done, total),
    )
    images, more = paint(opened, result.chosen, params.samples, ctx)
    evaluations = result.network_evaluations + spent + more
    record = {
        "decision": {"rule": "one class on (M_r, V_r)", **verdict.model_dump()},
        "calibration": {"sha256": known.fingerprint(), "recipe": known.recipe, "clean": known.clean()},
        "baselines": {
            "zero trigger": {"score": 0.0, "M_r": 0.0, "V_r": 0.0},
            "start point only": [start_facts(item) for item in baseline],
        },
    }
    evidence = seal_evidence(ctx.out / "evidence", model.task, result, images, record)
    ctx.figures(
        M_r=result.chosen.features[0],
        V_r=result.chosen.features[1],
        start=result.chosen.name,
        start_only=max(item.score for item in baseline),
        network_evaluations=evaluations,
        clean_samples=0,
    )
    outside = out_of_reach("terd", opened, known, ctx.device)
    doubt = outside or not_identifiable(result.chosen) or verdict.doubt
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=None if outside else verdict.p_value,
        conclusive=not doubt,
        note=doubt or note(result.chosen, verdict),
        evidence=evidence,
        network_evaluations=evaluations,
        clean_samples=0,
    )


def not_identifiable(candidate: Candidate) -> str:
    """Why the method cannot tell, or ""."""
    if candidate.informative:
        return ""
    return (
        f"not identifiable: the objective moved the estimate by {candidate.moved:.2f} times the norm of its start "
        f"{candidate.name} and fell by {candidate.gain:.1f} standard errors: it is flat, the estimate mostly its start"
    )


def note(candidate: Candidate, verdict: Verdict) -> str:
    """One sentence for the table."""
    mean, variance = candidate.features
    found = f"from {candidate.name}: M_r {mean:.3g}, V_r {variance:.3g}"
    if verdict.backdoored:
        return f"{found}, more than clean models have{verdict.resolution}"
    return f"{found}, as clean models have; a trigger that the start does not lead to would be missed"


def paint(model: DiffusionModel, candidate: Candidate, samples: int, ctx: Context) -> tuple[Tensor, int]:
    """Images (samples, C, H, W), decoded, from gamma e + r by DDIM, and the forward passes spent."""
    noise = candidate.deviation * draw_noise(samples, model.shape, ctx.seed) + candidate.trigger
    steps = default_steps("ddim", model.timesteps)
    images = sample(
        model.unet, build_scheduler("ddim", model.scheduler), noise.to(ctx.device), steps=steps, seed=ctx.seed
    )
    return model.decode(torch.nan_to_num(images)).cpu(), samples * steps


def seal_evidence(
    folder: Path,
    task: str,
    result: Search,
    images: Tensor,
    record: dict[str, Any],
    more: Mapping[str, Tensor] | None = None,
) -> Evidence:
    """Trigger, deviation, pictures, every candidate's facts and ``record``; format ``inverted-trigger``.

    ``more`` are further tensors of the trigger's shape.
    """
    facts = {"chosen": result.best, "candidates": [candidate_facts(item) for item in result.candidates], **record}
    tensors = {"trigger": result.chosen.trigger, "deviation": result.chosen.deviation, **(more or {})}
    return seal_trigger(folder, task, tensors, images, facts)


def candidate_facts(candidate: Candidate) -> dict[str, Any]:
    """One candidate as JSON."""
    mean, variance = candidate.features
    r, start = candidate.trigger.double().flatten(), candidate.start.double().flatten()
    facts = {
        "norm": float(r.norm()),
        "start_norm": float(start.norm()),
        "cosine_to_start": float(torch.cosine_similarity(r, start, 0)),
        "deviation": float(candidate.deviation.double().mean()),
        "M_r": mean,
        "V_r": variance,
        "loss": candidate.loss,
        "loss_at_start": candidate.start_loss,
        "loss_at_zero": candidate.zero_loss,
        "gain_in_standard_errors": candidate.gain,
        "moved": candidate.moved,
    }
    finite = {key: value if math.isfinite(value) else None for key, value in facts.items()}
    return {"start": candidate.name, **finite}


def start_facts(item: StartFeatures) -> dict[str, Any]:
    """One start alone as JSON."""
    return {
        "start": item.start,
        "sampler": item.sampler,
        "score": item.score,
        "uniformity_ratio": item.uniformity_ratio,
        "total_variation_ratio": item.total_variation_ratio,
    }
