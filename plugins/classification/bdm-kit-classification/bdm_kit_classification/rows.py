"""Chosen rows of training data or of evaluation inputs."""

from __future__ import annotations

from dataclasses import replace

import torch

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_kit_classification.data.absent import is_absent, seal_absent
from bdm_kit_classification.data.grouping import GROUP
from bdm_kit_classification.data.samples import (
    INPUTS,
    RESERVE,
    TRAINING,
    UNKNOWN,
    LabelledSamples,
    open_samples,
    seal_samples,
)


def select(ctx: Context, sources: list[Data], rows: list[int], blind: bool) -> Data:
    """Rows counted through all sources; sealed in ``ctx.out / "data"``.

    Of training data the rows from ``meta["count"]`` on are those of the reserve; other parts stay behind, and so does
    what poisoned data know of their trigger. Blind training rows keep their label, which is what the model was trained
    on, and rows of the reserve their group; blind inputs keep nothing, for at inference nobody knows the true label.
    Rows of a stand-in for data (:mod:`bdm_kit_classification.data.absent`) are a stand-in again.

    Args:
        ctx: of the stage.
        sources: at least one, all training data or all inputs.
        rows: there may be none.
        blind: leave out all facts but the label of training rows and the group of rows of the reserve.

    Raises:
        ArtifactError: the sources are of different formats.
    """
    if all(map(is_absent, sources)):
        return seal_absent(ctx.out / "data", sources[0], len(rows))
    formats = {source.format for source in sources}
    if len(formats) != 1 or not formats <= {TRAINING, INPUTS}:
        raise ArtifactError(f"cannot select rows of {', '.join(sorted(formats))}: expected {TRAINING} or {INPUTS}")
    every: LabelledSamples | None = None
    for source in sources:
        found = open_samples(source)
        every = found if every is None else every.followed_by(found)
    assert every is not None
    first = len(every)
    if len(sources) == 1 and any(row >= len(every) for row in rows):
        every = every.followed_by(open_samples(sources[0], RESERVE))
    chosen = every.pick(rows)
    if blind:
        labels = chosen.labels if formats == {TRAINING} else torch.full_like(chosen.labels, UNKNOWN)
        told = [row >= first and GROUP in fact for row, fact in zip(rows, chosen.facts, strict=True)]
        facts = [{GROUP: fact[GROUP]} if shown else {} for shown, fact in zip(told, chosen.facts, strict=True)]
        chosen = replace(chosen, labels=labels, facts=facts)
    return seal_samples(ctx.out / "data", chosen, format=formats.pop())
