"""What TERD's estimates say of a model, and the evidence that both levels of detection leave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Evidence
from bdm_core.context import Context
from bdm_diffusers.samplers import build_scheduler, default_steps
from bdm_diffusers.sampling import draw_noise, sample
from bdm_kit_diffusion.inversion.baselines import StartFeatures
from bdm_kit_diffusion.inversion.evidence import seal_trigger
from bdm_kit_diffusion.inversion.pair_search import Candidate, Search
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_torch.calibration import Verdict


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
