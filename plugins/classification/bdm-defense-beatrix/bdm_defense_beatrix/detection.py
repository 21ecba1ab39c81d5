"""Which training rows have other correlations in their feature maps than clean rows of their class."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_beatrix.gram import gram_entries, gram_sums, ranges
from bdm_defense_beatrix.infected import discrepancy, statistics
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

    numbers_of = gram_entries if params.entries == "triangle" else gram_sums

    def maps_of(samples: LabelledSamples) -> Iterator[Tensor]:
        if classifier.task == TEXT_TASK:  # texts have no places that are alike: features count as maps of one place
            return iter(predict(classifier, samples).features.clamp_min(0)[:, :, None].split(256))
        return feature_maps(classifier, samples)

    known = torch.cat([numbers_of(maps, params.orders) for maps in maps_of(clean)])
    labels = sorted(set(rows.labels.tolist()) | set(held.labels.tolist()))
    own = {
        label: ranges(known[clean.labels == label] if label in clean.labels else known, params.width, params.floor)
        for label in labels
    }

    def scores_of(samples: LabelledSamples) -> tuple[Tensor, Tensor]:
        """Deviations (N,) and pooled features (N, C)."""
        scores, done, pooled = torch.zeros(len(samples)).double(), 0, []
        for maps in maps_of(samples):
            pooled.append(maps.mean(2))
            found, batch = numbers_of(maps, params.orders), samples.labels[done : done + len(maps)]
            for label in set(batch.tolist()):
                scores[done : done + len(maps)][batch == label] = own[label].deviations(found[batch == label])
            done += len(maps)
        return scores, torch.cat(pooled)

    scores, features = scores_of(rows)
    evaluations = len(rows) + len(clean) + len(held)
    found = judged_rows("data", scores, scores_of(held)[0], params.false_positive_rate, network_evaluations=evaluations)
    deviating = scores > found.threshold
    groups = {label: rows.labels == label for label in sorted(set(rows.labels.tolist()))}
    apart = [discrepancy(features[own & ~deviating], features[own & deviating]) for own in groups.values()]
    of_class = dict(zip(groups, statistics(torch.tensor(apart, dtype=torch.float64)).tolist(), strict=True))
    ctx.figures(class_statistics={str(label): value for label, value in of_class.items()})
    if params.rule == "reserve":
        return found
    infected = [label for label, value in of_class.items() if value > params.class_threshold]
    in_infected = torch.isin(rows.labels, torch.tensor(infected, dtype=torch.int64))
    judged = torch.where(in_infected, scores, scores.clamp_max(found.threshold))
    note = f"{len(infected)} of {len(groups)} classes are infected: {', '.join(map(str, infected)) or 'none'}; "
    note += f"{int((judged > found.threshold).sum())} of their rows deviate"
    return found.model_copy(update={"scores": judged.tolist(), "note": note})
