"""Detectors of inputs: scores of suspects against those of clean rows, and turning inputs away by the same rule."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.records import Detection, Purified
from bdm_kit_classification.data.samples import INPUTS, LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.defending.judging import judged_rows

ScoreInputs = Callable[[LabelledSamples], Tensor]
"""Samples -> (N,) scores, higher is more suspicious. A sample's score must not depend on the others."""


def judge_inputs(
    ctx: Context, score: ScoreInputs, suspects: Data, clean: LabelledSamples, false_positive_rate: float
) -> Detection:
    """The detection of inputs: :func:`bdm_kit_classification.defending.judging.judged_rows` of a score.

    Args:
        ctx: gets the scores of clean rows as a figure.
        score: of the detector.
        suspects: inputs.
        clean: rows of the reserve that the score learnt nothing from.
        false_positive_rate: of the threshold.

    Raises:
        StageError: a score is not finite.
        UserError: there are no clean rows.

    >>> from pathlib import Path
    >>> pictures = torch.arange(9, dtype=torch.uint8).reshape(9, 1, 1, 1)
    >>> rows = LabelledSamples(pictures, torch.zeros(9, dtype=torch.int64), ["a"], "image-classification")
    >>> suspects = seal_samples(Path("suspects"), rows.pick([8, 0]), format=INPUTS)
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> found = judge_inputs(ctx, lambda some: some.raw().flatten(), suspects, rows.pick(range(8)), 0.2)
    >>> [score > found.threshold for score in found.scores]
    [True, False]
    """
    known = score(clean)
    found = judged_rows("input", score(open_samples(suspects)), known, false_positive_rate)
    ctx.figures(clean_scores=sorted(float(value) for value in known))
    return found


def reject_inputs(
    ctx: Context, score: ScoreInputs, inputs: Data, clean: LabelledSamples, false_positive_rate: float
) -> Purified:
    """Turn away the inputs that score higher than clean rows do; the others pass as they are.

    Args:
        ctx: the inputs are sealed in ``ctx.out / "data"``.
        score: of the detector.
        inputs: any number.
        clean: as for :func:`judge_inputs`.
        false_positive_rate: share of clean inputs that may be turned away.

    Raises:
        StageError: a score is not finite.
        UserError: there are no clean rows.

    >>> from pathlib import Path
    >>> pictures = torch.arange(9, dtype=torch.uint8).reshape(9, 1, 1, 1)
    >>> rows = LabelledSamples(pictures, torch.zeros(9, dtype=torch.int64), ["a"], "image-classification")
    >>> inputs = seal_samples(Path("inputs"), rows.pick([8, 0]), format=INPUTS)
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> reject_inputs(ctx, lambda some: some.raw().flatten(), inputs, rows.pick(range(8)), 0.2).rejected
    [True, False]
    """
    samples = open_samples(inputs)
    rejected: list[bool] = []
    if len(samples):
        found = judged_rows("input", score(samples), score(clean), false_positive_rate)
        rejected = (torch.tensor(found.scores, dtype=torch.float64) > found.threshold).tolist()
    return Purified(inputs=seal_samples(ctx.out / "data", samples, format=INPUTS), rejected=rejected)
