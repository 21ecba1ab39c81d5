"""Detection of triggered inputs: log N(x; r, gamma^2) - log N(x; 0, I) above 0, as published; and their rejection."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_core.records import Detection, Purified
from bdm_defense_terd.params import TerdInputParams
from bdm_kit_diffusion.inversion.baselines import input_baselines, likelihood_ratio, mean_pixel, mean_pixel_threshold
from bdm_kit_diffusion.inversion.estimate_evidence import not_identifiable, paint, seal_evidence
from bdm_kit_diffusion.inversion.evidence import TENSORS, trigger_of
from bdm_kit_diffusion.inversion.pair_search import Search, chosen_starts, search
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.models.pipeline_folder import shape_of
from bdm_kit_diffusion.noise.initial_noise import load_noise, seal_noise
from bdm_torch.tensors import read_tensors

TRIGGER, DEVIATION = "trigger from ", "deviation from "
"""Tensors of the evidence: every estimate, by the name of its start."""
Estimate = tuple[Tensor, Tensor | float]
"""A trigger (C, H, W) and the deviation of the noise under it."""


def likelihood_scores(noise: Tensor, estimates: Iterable[Estimate]) -> Tensor:
    """(N,), the largest log-likelihood ratio over all estimates: none of the starts is known to be the right one."""
    return torch.stack([likelihood_ratio(noise, *estimate) for estimate in estimates]).max(0).values


def estimate_scores(suspects: Tensor, result: Search) -> Tensor:
    """(N,), the scores of inputs (N, C, H, W) under the estimates of a search."""
    return likelihood_scores(suspects, [(item.trigger, item.deviation) for item in result.candidates])


def fitting_noise(inputs: Data, model: Model) -> Tensor:
    """Initial noise (N, C, H, W). Raises ArtifactError if it is none, or not of the model's shape."""
    noise, shape = load_noise(inputs), shape_of(model)
    if tuple(noise.shape[1:]) != shape:
        raise ArtifactError(f"the suspects have shape {tuple(noise.shape[1:])}, the model needs {shape}")
    return noise


def baseline(ctx: Context, params: TerdInputParams, model: Model, noise: Tensor) -> tuple[Tensor, float]:
    """Scores and threshold of the baseline that ``params.judge`` names."""
    if params.judge == "mean-pixel":
        return mean_pixel(noise), mean_pixel_threshold(params.false_positive_rate)
    starts = chosen_starts(params, load_model(model, ctx.device), ctx.seed)
    return likelihood_scores(noise, [(start, 1.0) for start in starts.values()]), 0.0


def detect(ctx: Context, params: TerdInputParams, model: Model, suspects: Data) -> Detection:
    """Judge every suspect; the evidence is sealed in ``ctx.out / "evidence"``, none for the baselines.

    Raises:
        ArtifactError: the suspects are no noise of the model's shape.
    """
    noise = fitting_noise(suspects, model)
    if params.judge != "estimate":
        found, threshold = baseline(ctx, params, model, noise)
        note = "baseline: mean pixel" if params.judge == "mean-pixel" else "baseline: start points alone"
        return Detection(level="input", scores=found.tolist(), threshold=threshold, network_evaluations=0, note=note)
    opened = load_model(model, ctx.device)
    result = search(opened, params, ctx.seed, ctx.progress)
    scores = estimate_scores(noise, result)
    baselines = input_baselines(noise, chosen_starts(params, opened, ctx.seed), params.false_positive_rate)
    images, spent = paint(opened, result.chosen, params.samples, ctx)
    flagged = int((scores > 0).sum())
    record = {"flagged": flagged, "baselines": baselines}
    estimates = {f"{TRIGGER}{item.name}": item.trigger for item in result.candidates}
    estimates |= {f"{DEVIATION}{item.name}": item.deviation for item in result.candidates}
    shares = {f"flagged by {name}": item["flagged"] for name, item in baselines.items()}
    ctx.figures(flagged=flagged / max(1, len(noise)), **shares)
    doubt = "" if any(item.informative for item in result.candidates) else not_identifiable(result.chosen)
    return Detection(
        level="input",
        scores=scores.tolist(),
        threshold=0.0,
        conclusive=not doubt,
        note=doubt or f"{flagged} of {len(noise)} inputs are likelier with an estimated trigger than without",
        evidence=seal_evidence(ctx.out / "evidence", model.task, result, images, record, estimates),
        network_evaluations=result.network_evaluations + spent,
        clean_samples=0,
    )


def reject(ctx: Context, params: TerdInputParams, model: Model, inputs: Data, detection: Detection | None) -> Purified:
    """Turn away inputs that are likelier under a known trigger than without; the others pass unchanged.

    The trigger is the one that ``detection`` found, this plugin's or another's; without a detection it is estimated
    here. Nothing is turned away where the method cannot tell, or where the model was found clean.

    Raises:
        ArtifactError: the inputs are no noise of the model's shape.
        UserError: the detection's evidence holds no trigger of this shape.
    """
    noise = fitting_noise(inputs, model)
    if params.judge != "estimate":
        scores, threshold = baseline(ctx, params, model, noise)
        rejected = scores > threshold
    else:
        estimates = known_estimates(ctx, params, model, detection)
        rejected = likelihood_scores(noise, estimates) > 0 if estimates else torch.zeros(len(noise), dtype=torch.bool)
    return Purified(inputs=seal_noise(ctx.out / "data", noise), rejected=rejected.tolist())


def known_estimates(ctx: Context, params: TerdInputParams, model: Model, detection: Detection | None) -> list[Estimate]:
    """The triggers to look for; none where nothing is to be turned away."""
    if detection is None:
        result = search(load_model(model, ctx.device), params, ctx.seed, ctx.progress)
        found: list[Estimate] = [(item.trigger, item.deviation) for item in result.candidates]
        return found if any(item.informative for item in result.candidates) else []
    if not detection.conclusive or (detection.level == "model" and detection.verdict == "clean"):
        return []
    trigger, deviation = trigger_of(detection, shape_of(model), "terd-input")
    assert detection.evidence is not None
    tensors = read_tensors(detection.evidence.file(TENSORS))
    names = [name.removeprefix(TRIGGER) for name in tensors if name.startswith(TRIGGER)]
    own: list[Estimate] = [(tensors[TRIGGER + name], tensors[DEVIATION + name]) for name in names]
    return own or [(trigger, 1.0 if deviation is None else deviation)]
