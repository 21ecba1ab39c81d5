"""From scores to a detection: the threshold comes from clean rows of the reserve at a given false positive rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from bdm_core.artifacts import Evidence
from bdm_core.errors import StageError
from bdm_core.records import Detection
from bdm_torch.calibration import clean_threshold, fewest_clean

WHAT = {"data": "training rows", "input": "inputs"}


def judged_rows(
    level: Literal["data", "input"],
    scores: Sequence[float] | Tensor,
    clean_scores: Sequence[float] | Tensor,
    false_positive_rate: float,
    *,
    evidence: Evidence | None = None,
    network_evaluations: int | None = None,
) -> Detection:
    """The detection of training rows or of inputs.

    The threshold is the score that a further clean row exceeds with at most the probability ``false_positive_rate``
    (:func:`bdm_torch.calibration.clean_threshold`), from the scores of clean rows that nothing was fitted on.

    Args:
        level: what the scores are of.
        scores: one for each suspect, in order; higher is more suspicious.
        clean_scores: of clean rows of the reserve, by the same rule.
        false_positive_rate: see above.
        evidence: for the report.
        network_evaluations: forward passes spent, counted per sample.

    Raises:
        StageError: a score is not finite.
        UserError: there are no clean rows.

    >>> judged_rows("data", [0.1, 9.0], [float(number) for number in range(9)], 0.1).threshold
    8.0
    >>> judged_rows("data", [0.1, 9.0], [float(number) for number in range(9)], 0.01).note.partition("exceeds ")[2]
    '(9 clean ones show no share below 0.1)'
    """
    found, clean = [float(score) for score in scores], [float(score) for score in clean_scores]
    if any(score != score or abs(score) == float("inf") for score in (*found, *clean)):
        raise StageError(f"scores of {WHAT[level]} are not finite: they cannot be judged")
    threshold = clean_threshold(clean, false_positive_rate)
    flagged = sum(score > threshold for score in found)
    few = len(clean) < fewest_clean(false_positive_rate)
    short = f" ({len(clean)} clean ones show no share below {1 / (len(clean) + 1):.2g})" if few else ""
    return Detection(
        level=level,
        scores=found,
        threshold=threshold,
        note=f"{flagged} of {len(found)} {WHAT[level]} are above what a share of {false_positive_rate:g} of clean ones "
        f"exceeds{short}",
        evidence=evidence,
        network_evaluations=network_evaluations,
        clean_samples=len(clean),
    )
