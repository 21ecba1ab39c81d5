"""Which training rows are extreme in batch normalisations in another way than clean rows."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_flare.extremes import dense_cluster, distances, extremes
from bdm_defense_flare.params import FlareParams
from bdm_defense_flare.separation import Floats, by_umap, separate, standardised
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import load_classifier


def detect(ctx: Context, params: FlareParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row by its distance from clean rows, or by its membership in a dense cluster.

    Raises:
        UserError: no batch normalisation is left to look at.
    """
    classifier = load_classifier(model, ctx.device)
    norms = list(classifier.norms().values())
    norms = norms[: len(norms) - params.last_layers_left_out]
    if not norms:
        raise UserError(
            f"flare looks at batch normalisations, and this classifier has {len(classifier.norms())}, of which "
            f"last_layers_left_out={params.last_layers_left_out} are left out: choose another detector of training rows"
        )
    rows = open_samples(suspects)
    published = params.numbers == "likelihoods"
    vectors = extremes(classifier, rows, norms, likelihoods=published)
    if params.rule == "reserve":
        clean, held = open_reserve(data, 0.5, ctx.seed)
        known, others = (extremes(classifier, samples, norms, likelihoods=published) for samples in (clean, held))
        scores, clean_scores = distances(vectors, known), distances(others, known)
        evaluations = len(rows) + len(clean) + len(held)
        return judged_rows("data", scores, clean_scores, params.false_positive_rate, network_evaluations=evaluations)

    def embed(chosen: Tensor) -> Floats:
        umap = params.embedding == "umap"
        return by_umap(chosen, params.embedding_neighbours, ctx.seed) if umap else standardised(chosen)

    what = "a dense cluster of their own"
    if params.rule == "cluster":
        membership = dense_cluster(embed(vectors), params.smallest_cluster, params.neighbours)
    else:
        sizes = params.smallest_cluster, params.neighbours
        parted = separate(vectors, embed, *sizes, params.stability, params.depth)
        membership = None if parted is None else parted.membership
        if parted is not None:
            left_out = parted.left_out + params.last_layers_left_out
            ctx.figures(last_layers_left_out=left_out, stability=parted.lasting)
            what = f"clusters beside the largest, without the last {left_out} of {len(classifier.norms())} layers"
    found = torch.zeros(len(rows)) if membership is None else membership
    flagged = int((found > 0).sum())
    return Detection(
        level="data",
        scores=found.tolist(),
        threshold=0.0,
        conclusive=flagged > 0,
        note=f"{flagged} of {len(rows)} training rows are {what}" if flagged else "all rows are one cluster",
        network_evaluations=len(rows),
    )
