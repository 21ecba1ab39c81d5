"""One-class verdicts: a score against those of clean models."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtr, stdtrit

from bdm_core.artifacts import Record
from bdm_core.errors import UserError


class Verdict(Record):
    """Score, threshold and p-value; higher scores are more suspicious.

    >>> Verdict(score=2.0, threshold=3.0, p_value=0.2).threshold
    3.0
    """

    score: float
    threshold: float
    p_value: float


def one_class(score: float, clean: list[float], false_positive_rate: float, least: float = 0.0) -> Verdict:
    """Judge a score against those of clean models by the prediction interval of one further clean model.

    With n clean scores of mean m and standard deviation s, (score - m) / (s sqrt(1 + 1/n)) follows Student's t with
    n - 1 degrees of freedom if clean scores are normal: the p-value is its upper tail, the threshold the score whose
    p-value is ``false_positive_rate``, or ``least`` if that is higher: few and similar clean models make the interval
    narrow, and a score that is hardly higher than usual is no sign of a backdoor, however rare it is.

    Raises:
        UserError: fewer than three clean models.

    >>> clean = [1.0, 2.0, 3.0]
    >>> round(one_class(2.0, clean, false_positive_rate=0.05).p_value, 6)
    0.5
    >>> verdict = one_class(9.0, clean, false_positive_rate=0.05)
    >>> round(verdict.threshold, 2), verdict.score > verdict.threshold
    (5.37, True)
    >>> one_class(9.0, [1.0, 2.0], false_positive_rate=0.05)
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: a calibration needs at least 3 clean models, this one has 2
    """
    if len(clean) < 3:
        raise UserError(f"a calibration needs at least 3 clean models, this one has {len(clean)}")
    values = np.asarray(clean)
    spread = max(float(values.std(ddof=1)), 1e-6) * math.sqrt(1 + 1 / len(values))
    mean, freedom = float(values.mean()), len(values) - 1
    threshold = max(mean - spread * float(stdtrit(freedom, false_positive_rate)), least)
    return Verdict(score=score, threshold=threshold, p_value=float(stdtr(freedom, -(score - mean) / spread)))


def conformal(score: float, clean: list[float], false_positive_rate: float, least: float = 0.0) -> Verdict:
    """Judge a score by its rank among those of clean models, whatever their distribution.

    With k of n clean scores at least as high, p = (1 + k) / (1 + n): if a clean model's score is exchangeable with the
    n known ones, P(p <= a) <= a for every a (Vovk et al., Algorithmic Learning in a Random World, 2005). A score is
    above the threshold if p is at most ``false_positive_rate``. Where n is too small for that, 1 / (1 + n) being
    larger, the threshold is that of :func:`one_class`, which assumes that clean scores are normal; p stays the rank's.
    Never is it below ``least``.

    Raises:
        UserError: fewer than three clean models.

    >>> clean = [float(number) for number in range(99)]
    >>> verdict = conformal(98.5, clean, false_positive_rate=0.01)
    >>> verdict.p_value, verdict.threshold
    (0.01, 98.0)
    >>> conformal(97.0, clean, false_positive_rate=0.02).p_value
    0.03
    >>> conformal(9.0, [1.0, 2.0, 3.0], false_positive_rate=0.05).p_value
    0.25
    """
    p_value = (1 + sum(value >= score for value in clean)) / (1 + len(clean))
    threshold = one_class(score, clean, false_positive_rate).threshold
    allowed = math.floor(false_positive_rate * (1 + len(clean)) + 1e-9)
    if allowed:
        threshold = sorted(clean, reverse=True)[allowed - 1]
    return Verdict(score=score, threshold=max(threshold, least), p_value=p_value)


def one_class_of_several(values: list[float], clean: list[list[float]], false_positive_rate: float) -> Verdict:
    """Judge several features of one model at once: the one that exceeds the clean models' most decides.

    Each feature is standardised as in :func:`one_class`; the score is the largest of these statistics, the threshold
    and the p-value are Bonferroni's for so many features (valid however they are correlated).

    Args:
        values: F features of the model.
        clean: for each clean model its F features.
        false_positive_rate: of the whole decision.

    Raises:
        UserError: fewer than three clean models.

    >>> clean = [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]
    >>> verdict = one_class_of_several([2.0, 20.0], clean, false_positive_rate=0.05)
    >>> verdict.score, verdict.p_value
    (0.0, 1.0)
    """
    if len(clean) < 3:
        raise UserError(f"a calibration needs at least 3 clean models, this one has {len(clean)}")
    known, count = np.asarray(clean), len(values)
    spread = np.maximum(known.std(axis=0, ddof=1), 1e-6) * math.sqrt(1 + 1 / len(known))
    score = float(((np.asarray(values) - known.mean(axis=0)) / spread).max())
    freedom = len(known) - 1
    threshold = -float(stdtrit(freedom, false_positive_rate / count))
    return Verdict(score=score, threshold=threshold, p_value=min(1.0, count * float(stdtr(freedom, -score))))
