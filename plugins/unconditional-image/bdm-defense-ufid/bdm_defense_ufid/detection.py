"""Detection of triggered inputs by the density of their graphs, calibrated on clean queries of the same model."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Evidence, Model
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_core.records import Detection
from bdm_defense_ufid.graph import densities, embedding, perturbed
from bdm_defense_ufid.params import UfidParams
from bdm_diffusers.samplers import build_scheduler, default_steps, fitting_samplers
from bdm_diffusers.sampling import draw_noise, sample
from bdm_kit_diffusion.inversion.baselines import input_baselines
from bdm_kit_diffusion.inversion.starts import starts_of
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model
from bdm_kit_diffusion.noise.initial_noise import load_noise

ALIKE = 0.98
"""Clean queries whose graphs are denser than this leave nothing to see."""


def graph_densities(
    ctx: Context, params: UfidParams, model: DiffusionModel, queries: Tensor, seed: int
) -> tuple[Tensor, int]:
    """(samplers, N), the density of each query's graph under each sampler, and forward passes counted per sample.

    The queries are worked on in an order of their own, so that a density does not depend on the place of a query.
    """
    order = sorted(range(len(queries)), key=lambda row: queries[row].numpy().tobytes())
    count = params.perturbations
    noise = draw_noise(len(queries) * count, model.shape, seed + 1).unflatten(0, (len(queries), count))
    inputs = perturbed(queries[order], noise, params.strength).flatten(0, 1).to(ctx.device)
    _, embed = embedding(model.image_shape, params.features, ctx.device)
    table, evaluations = [], 0
    for name in fitting_samplers(params.samplers, model.scheduler):
        steps = params.steps or default_steps(name, model.timesteps)
        images = sample(
            model.unet,
            build_scheduler(name, model.scheduler, corrector_steps=0),
            inputs,
            steps=steps,
            seed=seed,
            batch_size=256,
            on_step=lambda done, total, name=name: ctx.progress(f"generate, {name}", done, total),
        )
        evaluations += len(inputs) * steps
        features = embed(torch.nan_to_num(model.decode(images))).cpu().unflatten(0, (len(queries), count + 1))
        row = torch.empty(len(queries), dtype=torch.float64)
        row[order] = densities(features)
        table.append(row)
    return torch.stack(table), evaluations


def standardised(table: Tensor, clean: Tensor) -> Tensor:
    """(N,), the largest over the samplers of (density - mean) / standard deviation of the clean queries' densities.

    Args:
        table: (samplers, N).
        clean: (samplers, K).
    """
    spread = clean.std(1, keepdim=True).clamp(min=1e-6)
    return ((table - clean.mean(1, keepdim=True)) / spread).max(0).values


def clean_threshold(scores: Tensor, false_positive_rate: float) -> float:
    """The score that a further clean query exceeds with at most this probability, whatever the distribution is.

    Of K clean scores it is the ceil((1 - rate)(K + 1))-th smallest (the largest if there are too few).
    """
    rank = min(len(scores), math.ceil((1 - false_positive_rate) * (len(scores) + 1)))
    return float(scores.sort().values[rank - 1])


def detect(ctx: Context, params: UfidParams, model: Model, suspects: Data) -> Detection:
    """Judge every suspect; the evidence is sealed in ``ctx.out / "evidence"``.

    Raises:
        ArtifactError: the suspects are no noise of the model's shape.
    """
    begin = time.monotonic()
    opened = load_model(model, ctx.device)
    noise = load_noise(suspects)
    if tuple(noise.shape[1:]) != opened.shape:
        raise ArtifactError(f"the suspects have shape {tuple(noise.shape[1:])}, the model needs {opened.shape}")
    queries = draw_noise(params.clean_queries, opened.shape, ctx.seed)
    clean, spent = graph_densities(ctx, params, opened, queries, ctx.seed + 1)
    table, more = graph_densities(ctx, params, opened, noise, ctx.seed + 2)
    scores = standardised(table, clean)
    threshold = clean_threshold(standardised(clean, clean), params.false_positive_rate)
    flagged = int((scores > threshold).sum())
    baselines = input_baselines(noise, starts_of(opened, ctx.seed, library=False), params.false_positive_rate)
    names = fitting_samplers(params.samplers, opened.scheduler)
    ctx.figures(
        seconds=round(time.monotonic() - begin, 1),
        network_evaluations=spent + more,
        clean_samples=0,
        clean_density={name: round(float(row.mean()), 4) for name, row in zip(names, clean, strict=True)},
        flagged=flagged / max(1, len(noise)),
        **{f"flagged by {name}": item["flagged"] for name, item in baselines.items()},
    )
    record = {
        "features": embedding(opened.image_shape, params.features, "cpu")[0],
        "threshold": threshold,
        "samplers": names,
        "clean_densities": clean.tolist(),
        "densities": table.tolist(),
        "baselines": baselines,
    }
    alike = bool((clean.mean(1) > ALIKE).all())
    return Detection(
        level="input",
        scores=scores.tolist(),
        threshold=threshold,
        conclusive=not alike,
        note="not identifiable: clean queries and their copies generate the same already; raise the strength"
        if alike
        else f"{flagged} of {len(noise)} inputs generate images that are too alike",
        evidence=seal_evidence(ctx, model.task, record),
        network_evaluations=spent + more,
        clean_samples=0,
    )


def seal_evidence(ctx: Context, task: str, record: dict[str, Any]) -> Evidence:
    """Densities of suspects and of clean queries, as JSON; format ``similarity-graphs``."""
    folder = ctx.out / "evidence"
    folder.mkdir(parents=True)
    (folder / "densities.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return Evidence.seal(folder, format="similarity-graphs", task=task)
