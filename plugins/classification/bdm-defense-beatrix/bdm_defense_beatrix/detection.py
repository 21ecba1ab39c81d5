"""Which training rows have other correlations in their feature maps than clean rows of their class."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_beatrix.gram import gram_sums, ranges
from bdm_defense_beatrix.params import BeatrixParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.feature_maps import feature_maps
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.tasks.text import TEXT_TASK
from bdm_kit_classification.training.fitting import predict


def detect(ctx: Context, params: BeatrixParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row: deviation of its Gram matrices from the ranges of clean rows of its class.

    Rows of a class without clean rows are compared with those of all classes.
    """
    classifier = load_classifier(model, ctx.device)
    clean, held = open_reserve(data, params.held_out, ctx.seed)
    rows = open_samples(suspects)

    def sums_of(samples: LabelledSamples) -> Tensor:
        if classifier.task == TEXT_TASK:  # texts have no places that are alike: features count as maps of one place
            features = predict(classifier, samples).features.clamp_min(0)[:, :, None]
            return torch.cat([gram_sums(some, params.orders) for some in features.split(256)])
        return torch.cat([gram_sums(maps, params.orders) for maps in feature_maps(classifier, samples)])

    known, found, held_sums = sums_of(clean), sums_of(rows), sums_of(held)
    scores, held_scores = torch.zeros(len(rows)).double(), torch.zeros(len(held)).double()
    for label in sorted(set(rows.labels.tolist()) | set(held.labels.tolist())):
        of_class = clean.labels == label
        own = ranges(known[of_class] if bool(of_class.any()) else known, params.width, params.floor)
        scores[rows.labels == label] = own.deviations(found[rows.labels == label])
        held_scores[held.labels == label] = own.deviations(held_sums[held.labels == label])
    evaluations = len(rows) + len(clean) + len(held)
    return judged_rows("data", scores, held_scores, params.false_positive_rate, network_evaluations=evaluations)
