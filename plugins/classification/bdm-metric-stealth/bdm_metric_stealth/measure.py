"""Distances of test samples from themselves under the trigger, at the precision of files."""

from __future__ import annotations

import random

import torch

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Measurement, Subject
from bdm_kit_classification.data.samples import RESERVE, TEST, open_samples
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.triggers.trigger import apply_in_batches
from bdm_metric_stealth.params import StealthParams
from bdm_metric_stealth.showing import show


def measure(ctx: Context, params: StealthParams, subject: Subject) -> list[Measurement]:
    """The mean of each of the modality's distances, for the backdoored model's row; nothing for others."""
    if subject.role != "backdoored":
        return []
    samples, backdoor = open_samples(subject.reference, TEST), open_secret(subject.secret)
    rows = [row for row, label in enumerate(samples.labels.tolist()) if backdoor.rule.eligible(label)]
    clean = samples.pick(drawn(rows, params.samples, ctx.seed))
    if not len(clean):
        return []
    changed = clean.changed(range(len(clean)), apply_in_batches(backdoor.trigger, clean.raw(), "test", ctx.seed))
    modality = clean.modality
    found = dict(modality.distances(clean.raw(), changed.raw()))
    if subject.reference.meta.get(RESERVE):
        others = open_samples(subject.reference, RESERVE).raw()
        found |= modality.fitted_distances(clean.raw(), changed.raw(), others)
    try:
        found |= modality.learned_distances(clean.raw(), changed.raw(), ctx.device)
    except UserError as error:  # an extra that nobody has to install
        ctx.figures(left_out=str(error))
    show(ctx, clean, changed, found)
    return [
        Measurement(
            metric=name,
            value=float(values.mean()),
            stderr=float(values.std() / len(values) ** 0.5) if len(values) > 1 else None,
            on="triggered",
            label=modality.measures[name].label,
            higher_is_better=not modality.measures[name].more_is_stealthier,
            n=len(values),
            description=modality.measures[name].description,
        )
        for name, values in found.items()
        if bool(torch.isfinite(values).all())
    ]


def drawn(rows: list[int], most: int, seed: int) -> list[int]:
    """At most so many of the rows, drawn at random and in their order: folders list one class after the other.

    >>> drawn([3, 5, 8], 5, 0), max(drawn(list(range(1000)), 10, 0)) > 500
    ([3, 5, 8], True)
    """
    return rows if len(rows) <= most else sorted(random.Random(seed).sample(rows, most))
