"""Detection of triggered inputs: log N(x; r, gamma^2) - log N(x; 0, I) above 0, as published."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_core.records import Detection
from bdm_defense_terd.detection import not_identifiable, paint, seal_evidence
from bdm_defense_terd.params import TerdInputParams
from bdm_defense_terd.search import Search, chosen_starts, search
from bdm_kit_diffusion.inversion.baselines import input_baselines, likelihood_ratio, mean_pixel, mean_pixel_threshold
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.models.pipeline_folder import shape_of
from bdm_kit_diffusion.noise.initial_noise import load_noise


def estimate_scores(suspects: Tensor, result: Search) -> Tensor:
    """(N,), the largest log-likelihood ratio over all estimates: none of the starts is known to be the right one."""
    ratios = [likelihood_ratio(suspects, item.trigger, item.deviation) for item in result.candidates]
    return torch.stack(ratios).max(0).values


def detect(ctx: Context, params: TerdInputParams, model: Model, suspects: Data) -> Detection:
    """Judge every suspect; the evidence is sealed in ``ctx.out / "evidence"``, none for the baselines.

    Raises:
        ArtifactError: the suspects are no noise of the model's shape.
    """
    begin = time.monotonic()
    shape = shape_of(model)
    noise = load_noise(suspects)
    if tuple(noise.shape[1:]) != shape:
        raise ArtifactError(f"the suspects have shape {tuple(noise.shape[1:])}, the model needs {shape}")
    if params.judge == "mean-pixel":
        found, threshold = mean_pixel(noise), mean_pixel_threshold(params.false_positive_rate)
        return Detection(
            level="input",
            scores=found.tolist(),
            threshold=threshold,
            network_evaluations=0,
            note="baseline: mean pixel",
        )
    opened = load_model(model, ctx.device)
    starts = chosen_starts(params, opened, ctx.seed)
    if params.judge == "start":
        found = torch.stack([likelihood_ratio(noise, start) for start in starts.values()]).max(0).values
        return Detection(
            level="input",
            scores=found.tolist(),
            threshold=0.0,
            network_evaluations=0,
            note="baseline: start points alone",
        )
    result = search(opened, params, ctx.seed, ctx.progress)
    scores = estimate_scores(noise, result)
    baselines = input_baselines(noise, starts, params.false_positive_rate)
    images, spent = paint(opened, result.chosen, params.samples, ctx)
    evaluations = result.network_evaluations + spent
    flagged = int((scores > 0).sum())
    evidence = seal_evidence(
        ctx.out / "evidence", model.task, result, images, {"flagged": flagged, "baselines": baselines}
    )
    shares = {f"flagged by {name}": item["flagged"] for name, item in baselines.items()}
    ctx.figures(
        seconds=round(time.monotonic() - begin, 1),
        network_evaluations=evaluations,
        clean_samples=0,
        flagged=flagged / max(1, len(noise)),
        **shares,
    )
    doubt = "" if any(item.informative for item in result.candidates) else not_identifiable(result.chosen)
    return Detection(
        level="input",
        scores=scores.tolist(),
        threshold=0.0,
        conclusive=not doubt,
        note=doubt or f"{flagged} of {len(noise)} inputs are likelier with an estimated trigger than without",
        evidence=evidence,
        network_evaluations=evaluations,
        clean_samples=0,
    )
