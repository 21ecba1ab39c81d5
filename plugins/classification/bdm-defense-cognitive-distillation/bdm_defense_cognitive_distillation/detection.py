"""Which training rows are recognised by a small part of them."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_cognitive_distillation.masks import distil
from bdm_defense_cognitive_distillation.params import CognitiveDistillationParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.models.classifier import Classifier, load_classifier

BATCH = 256


def detect(ctx: Context, params: CognitiveDistillationParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row by how small its mask is: minus the mask's mean, in [-1, 0].

    Raises:
        UserError: samples are no pictures.
    """
    classifier = load_classifier(model, ctx.device).requires_grad_(False)
    rows, clean = open_samples(suspects), open_samples(data)
    if not isinstance(rows.stored, Tensor) or rows.stored.ndim != 4:
        raise UserError("cognitive-distillation masks parts of pictures: it works for pictures only")
    found = [-mask_sizes(ctx, params, classifier, samples) for samples in (rows, clean)]
    evaluations = (params.mask_steps + 1) * (len(rows) + len(clean))
    judged = judged_rows("data", *found, params.false_positive_rate, network_evaluations=evaluations)
    if params.rule == "reserve":
        return judged
    threshold = deviation_threshold(found[1])
    flagged = int((found[0] > threshold).sum())
    note = (
        f"the masks of {flagged} of {len(rows)} training rows are a standard deviation smaller than those of clean rows"
    )
    return judged.model_copy(update={"threshold": threshold, "note": note})


def deviation_threshold(clean: Tensor) -> float:
    """One standard deviation above the mean of the scores of clean rows (N,).

    >>> round(deviation_threshold(torch.tensor([-0.5, -0.3])), 6)
    -0.3
    """
    return float(clean.double().mean() + clean.double().std(correction=0))


def mask_sizes(
    ctx: Context, params: CognitiveDistillationParams, classifier: Classifier, samples: LabelledSamples
) -> Tensor:
    """Mean of each row's mask, (N,) in [0, 1]."""
    generator = torch.Generator().manual_seed(ctx.seed % 2**63)
    output = classifier if params.output == "logits" else classifier.features
    sizes, done = [], 0
    for numbers, raw in samples.split(BATCH):
        masks = distil(
            output,
            samples.modality.collate(raw, classifier),
            steps=params.mask_steps,
            learning_rate=params.mask_learning_rate,
            alpha=params.size_weight,
            beta=params.smoothness_weight,
            generator=generator,
        )
        sizes.append(masks.flatten(1).mean(1).double().cpu())
        done += len(numbers)
        ctx.progress("masks", done, len(samples))
    return torch.cat(sizes)
