"""Detection of triggered inputs by the density of their graphs, calibrated on clean queries of the same model.

The model is a black box: it is asked for the images of initial noise, and nothing else is known of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Evidence
from bdm_core.context import Context
from bdm_core.records import Detection, Purified
from bdm_defense_ufid.graph import perturbed
from bdm_defense_ufid.params import UfidParams
from bdm_diffusers.sampling import draw_noise, require_finite_samples
from bdm_kit_diffusion.data.classifiers import feature_space
from bdm_kit_diffusion.inversion.baselines import input_baselines
from bdm_kit_diffusion.inversion.starts import starting_points
from bdm_kit_diffusion.noise.initial_noise import load_noise, seal_noise
from bdm_torch.calibration import clean_threshold
from bdm_torch.diversity import densities
from bdm_torch.image_sets import load_images

ALIKE = 0.98
"""Clean queries whose graphs are denser than this leave nothing to see."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the graphs of some inputs say.

    Attributes:
        densities: (N,), of each input's graph.
        clean: (K,), those of the defender's own clean queries.
        features: name of the features of the images; "" if the clean queries are another judgement's.
        false_positive_rate: of the threshold.
    """

    densities: Tensor
    clean: Tensor
    features: str
    false_positive_rate: float

    @property
    def scores(self) -> Tensor:
        """(N,), the densities standardised by those of the clean queries."""
        return standardised(self.densities, self.clean)

    @property
    def threshold(self) -> float:
        return clean_threshold(standardised(self.clean, self.clean).tolist(), self.false_positive_rate)

    @property
    def alike(self) -> bool:
        """Whether clean queries and their copies generate the same already, so that nothing can be told."""
        return float(self.clean.mean()) > ALIKE


def graph_densities(ctx: Context, params: UfidParams, queries: Tensor, label: str, seed: int) -> tuple[Tensor, str]:
    """(N,), the density of each query's graph, and the name of the features.

    The queries are asked in an order of their own, so that a density does not depend on the place of a query.

    Args:
        ctx: ``ctx.query`` asks the model.
        params: of the defense.
        queries: (N, C, H, W), N >= 1.
        label: names the folder of the queries.
        seed: of the copies.

    Raises:
        ArtifactError: an answer of the model holds NaN or infinity.
    """
    order = sorted(range(len(queries)), key=lambda row: queries[row].numpy().tobytes())
    count, shape = params.perturbations, tuple(queries.shape[1:])
    noise = draw_noise(len(queries) * count, shape, seed).unflatten(0, (len(queries), count))
    inputs = perturbed(queries[order], noise, params.strength).flatten(0, 1)
    images = require_finite_samples(load_images(ctx.query(seal_noise(ctx.work / label, inputs))))
    name, embed = feature_space(tuple(images.shape[1:]), params.features, ctx.device)
    features = embed(images.to(ctx.device)).cpu().unflatten(0, (len(queries), count + 1))
    found = torch.empty(len(queries), dtype=torch.float64)
    found[order] = densities(features)
    return found, name


def standardised(values: Tensor, clean: Tensor) -> Tensor:
    """(density - mean) / standard deviation of the clean queries' densities: (N,).

    Args:
        values: (N,).
        clean: (K,), K >= 2.
    """
    return (values - clean.mean()) / clean.std().clamp(min=1e-6)


def judge(ctx: Context, params: UfidParams, noise: Tensor, clean: Tensor | None = None) -> Judgement:
    """Judge inputs (N, C, H, W); ``clean`` are the densities of clean queries of the same model if they are known."""
    name = ""
    if clean is None:
        own = draw_noise(params.clean_queries, tuple(noise.shape[1:]), ctx.seed)
        clean, name = graph_densities(ctx, params, own, "clean", ctx.seed + 2)
    found, _ = graph_densities(ctx, params, noise, "suspects", ctx.seed + 3)
    return Judgement(found, clean, name, params.false_positive_rate)


def detect(ctx: Context, params: UfidParams, suspects: Data) -> Detection:
    """Judge every suspect; the evidence is sealed in ``ctx.out / "evidence"``.

    Raises:
        ArtifactError: the suspects are no noise, or the model refuses their shape.
    """
    noise = load_noise(suspects)
    found = judge(ctx, params, noise)
    scores = found.scores
    flagged = int((scores > found.threshold).sum())
    starts = starting_points(tuple(noise.shape[1:]), ctx.seed, library=False)
    baselines = input_baselines(noise, starts, params.false_positive_rate)
    ctx.figures(
        clean_density=round(float(found.clean.mean()), 4),
        flagged=flagged / len(noise),
        **{f"flagged by {name}": item["flagged"] for name, item in baselines.items()},
    )
    record = {
        "features": found.features,
        "threshold": found.threshold,
        "clean_densities": found.clean.tolist(),
        "densities": found.densities.tolist(),
        "baselines": baselines,
    }
    return Detection(
        level="input",
        scores=scores.tolist(),
        threshold=found.threshold,
        conclusive=not found.alike,
        note="not identifiable: clean queries and their copies generate the same already; raise the strength"
        if found.alike
        else f"{flagged} of {len(noise)} inputs generate images that are too alike",
        evidence=seal_evidence(ctx, suspects.task, record),
    )


def reject(ctx: Context, params: UfidParams, inputs: Data, detection: Detection | None) -> Purified:
    """Turn away inputs whose score is above the threshold; the others pass unchanged.

    The clean queries of this defense's own detection serve again. Where clean queries generate the same already,
    nothing is turned away.
    """
    evidence = detection.evidence if detection is not None else None
    clean = None
    if evidence is not None and evidence.format == "similarity-graphs":
        facts = json.loads(evidence.file("features.json").read_text(encoding="utf-8"))
        clean = torch.tensor(facts["clean_densities"], dtype=torch.float64)
    noise = load_noise(inputs)
    found = judge(ctx, params, noise, clean)
    rejected = (found.scores > found.threshold) & (not found.alike)
    return Purified(inputs=seal_noise(ctx.out / "data", noise), rejected=rejected.tolist())


def seal_evidence(ctx: Context, task: str, record: dict[str, Any]) -> Evidence:
    """Densities of suspects and of clean queries, as JSON; format ``similarity-graphs``."""
    folder = ctx.out / "evidence"
    folder.mkdir(parents=True)
    (folder / "features.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return Evidence.seal(folder, format="similarity-graphs", task=task)
