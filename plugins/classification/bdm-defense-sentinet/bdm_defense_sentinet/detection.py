"""Judge and reject inputs by their distance above the boundary of clean pictures."""

from __future__ import annotations

import random

import torch

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection, Purified
from bdm_defense_sentinet.boundary import fit_boundary
from bdm_defense_sentinet.params import SentiNetParams
from bdm_defense_sentinet.pasting import SentiNet
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.inputs import ScoreInputs, judge_inputs, reject_inputs
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import load_classifier


def detect(ctx: Context, params: SentiNetParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Judge inputs."""
    score, method, held, used = _prepared(ctx, params, model, data)
    found = judge_inputs(ctx, score, suspects, held, params.false_positive_rate)
    spent = method.oracle.asked + method.maps
    return found.model_copy(update={"network_evaluations": spent, "clean_samples": used + found.clean_samples})


def reject(ctx: Context, params: SentiNetParams, model: Model, data: Data, inputs: Data) -> Purified:
    """Turn inputs away."""
    score, _, held, _ = _prepared(ctx, params, model, data)
    return reject_inputs(ctx, score, inputs, held, params.false_positive_rate)


def _prepared(
    ctx: Context, params: SentiNetParams, model: Model, data: Data
) -> tuple[ScoreInputs, SentiNet, LabelledSamples, int]:
    """The score, the method behind it, the rows that set the threshold, and how many others were used.

    The rows that are not held out are pasted on, the first ``copies`` of them, or bound the clean ones.
    """
    kept, held = open_reserve(data, params.held_out, ctx.seed)
    order = list(range(len(kept)))
    random.Random(ctx.seed).shuffle(order)
    copies = min(params.copies, len(kept) // 2)
    bounding = kept.pick(order[copies:])
    if not copies or len(bounding) <= params.degree:
        raise UserError(
            f"sentinet needs clean pictures to paste on and {params.degree + 1} more to bound clean ones, there are "
            f"{len(kept)}: allow the defender more data (--data-share)"
        )
    method = SentiNet(load_classifier(model, ctx.device), kept.pick(order[:copies]), params, ctx.seed)
    known = method.points(bounding)
    boundary = fit_boundary(known.confidence, known.fooled, params.bins, params.degree)
    ctx.figures(boundary=boundary.coefficients.tolist())

    def score(samples: LabelledSamples) -> torch.Tensor:
        found = method.points(samples)
        return torch.from_numpy(boundary.distances(found.confidence, found.fooled))

    return score, method, held, len(kept)
