"""TeCo (Liu et al., CVPR 2023, arXiv 2303.18191): corruption robustness consistency at test time.

For each corruption the first severity at which the prediction changes is noted, and one more than the last where none
does. These resist alike for clean pictures; a triggered one breaks with some corruptions, which its trigger does not
survive, and not with others: its deviation over the corruptions is high (section 4.2). Only predicted classes are used.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.records import Detection, Purified
from bdm_defense_teco.corruptions import SEVERITIES, corrupted
from bdm_defense_teco.params import Strengths, TecoParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.asking import AT_ONCE, BlackBox, Oracle
from bdm_kit_classification.defending.inputs import ScoreInputs, judge_inputs, reject_inputs
from bdm_kit_classification.models.classifier import batches

SEED = 0
"""Of the corruptions' noise: a corruption is the same for every model and run."""


def first_changes(
    oracle: Oracle, samples: LabelledSamples, corruptions: Sequence[str], strengths: Strengths = "cifar-10-c"
) -> Tensor:
    """(N, number of corruptions) int64: the first severity that changes the prediction, 6 where none does."""
    found = torch.full((len(samples), len(corruptions)), SEVERITIES + 1)
    for rows in batches(len(samples), AT_ONCE):
        raw = samples.raw(list(rows))
        before = oracle.logits(samples, raw).argmax(1)
        for column, name in enumerate(corruptions):
            left = torch.arange(len(rows))
            for severity in range(1, SEVERITIES + 1):
                now = oracle.logits(samples, corrupted(raw[left], name, severity, SEED, strengths)).argmax(1)
                changed = now != before[left]
                found[left[changed] + rows.start, column] = severity
                left = left[~changed]
                if not len(left):
                    break
    return found


def deviations(changes: Tensor) -> Tensor:
    """The score (N,): the standard deviation over the corruptions of where the prediction changes.

    >>> deviations(torch.tensor([[3, 3, 3], [1, 6, 6]])).tolist()[0]
    0.0
    """
    return changes.double().std(1, correction=0)


def detect(ctx: Context, params: TecoParams, data: Data, suspects: Data) -> Detection:
    """Judge inputs; the reserve serves the threshold alone."""
    box = BlackBox(ctx)
    score = _scorer(box, params)
    found = judge_inputs(ctx, score, suspects, open_samples(data), params.false_positive_rate)
    return found.model_copy(update={"network_evaluations": box.asked})


def reject(ctx: Context, params: TecoParams, data: Data, inputs: Data) -> Purified:
    """Turn inputs away."""
    return reject_inputs(ctx, _scorer(BlackBox(ctx), params), inputs, open_samples(data), params.false_positive_rate)


def _scorer(oracle: Oracle, params: TecoParams) -> ScoreInputs:
    return lambda samples: deviations(first_changes(oracle, samples, params.corruptions, params.strengths))
