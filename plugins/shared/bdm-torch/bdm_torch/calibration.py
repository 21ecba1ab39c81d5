"""One-class verdicts: a score against those of clean models, or of clean inputs of the model itself.

The rule for verdict and p-value is :class:`Verdict`'s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from bdm_core.artifacts import Record
from bdm_core.errors import ArtifactError, UserError

FEWEST = 3
"""A calibration needs so many clean models."""


class Verdict(Record):
    """A score against those of n known clean models; higher scores are more suspicious.

    The rule, for every detector that is calibrated on clean models:

    - above ``threshold``: *backdoored*;
    - else above ``limit``: *cannot tell*, as clean models hardly have such scores, see :attr:`doubt`;
    - else *clean*.

    ``limit`` comes from the clean scores alone, see :func:`limit_of`, ``threshold`` is it or the detector's least score
    if that is higher. So verdict and p-value never contradict each other: if n is large enough that ranks reach the
    false positive rate, a score is above the limit if and only if its p-value is at most the rate; if not, a score
    above the limit is above those of all clean models, and its p-value is the least that n models allow. No model is
    *clean* by a p-value of at most the rate, and none is *backdoored* by one that is neither so nor the least.

    Attributes:
        score: of the model.
        threshold: backdoored above it.
        p_value: (1 + how many of the n clean scores are as high) / (1 + n).
        limit: what is above it is not like the known clean models.
        least_p_value: 1 / (1 + n), the smallest that there can be.

    >>> verdict = Verdict(score=2.0, threshold=3.0, p_value=0.01, limit=1.5, least_p_value=0.01)
    >>> verdict.backdoored, verdict.unusual
    (False, True)
    """

    score: float
    threshold: float
    p_value: float
    limit: float
    least_p_value: float

    @property
    def backdoored(self) -> bool:
        """Above the threshold."""
        return self.score > self.threshold

    @property
    def unusual(self) -> bool:
        """Not like the known clean models."""
        return self.score > self.limit

    @property
    def doubt(self) -> str:
        """Why such a score is no verdict; "" if it is one."""
        if self.backdoored or not self.unusual:
            return ""
        return (
            f"cannot tell: a score of {self.score:.3g} is higher than clean models have (p = {self.p_value:.2g}), but "
            f"not above {self.threshold:.3g}, which a backdoor needs"
        )

    @property
    def resolution(self) -> str:
        """What to know of a p-value that cannot be smaller, in brackets; "" of any other.

        >>> conformal(9.0, [1.0, 2.0, 3.0], false_positive_rate=0.05).resolution
        ' (p = 0.25 is the least that 3 clean models allow)'
        """
        if self.p_value > self.least_p_value:
            return ""
        return f" (p = {self.p_value:.2g} is the least that {round(1 / self.least_p_value) - 1} clean models allow)"


def conformal(score: float, clean: Sequence[float], false_positive_rate: float, least: float = 0.0) -> Verdict:
    """Judge a score by its rank among those of clean models, whatever their distribution.

    With k of n clean scores at least as high, p = (1 + k) / (1 + n): if a clean model's score is exchangeable with the
    n known ones, P(p <= a) <= a for every a (Vovk et al., Algorithmic Learning in a Random World, 2005).

    Args:
        score: of the model.
        clean: of n clean models.
        false_positive_rate: of the limit.
        least: the threshold is never below it: a score that is hardly higher than usual is no sign of a backdoor,
            however rare it is.

    Raises:
        UserError: fewer than three clean models, or one without a finite score.
        ArtifactError: the score is not finite.

    >>> clean = [float(number) for number in range(99)]
    >>> verdict = conformal(98.5, clean, false_positive_rate=0.01)
    >>> verdict.p_value, verdict.threshold
    (0.01, 98.0)
    >>> conformal(97.0, clean, false_positive_rate=0.02).p_value
    0.03
    >>> conformal(9.0, [1.0, 2.0, 3.0], false_positive_rate=0.05).p_value
    0.25
    """
    known = checked([[value] for value in clean])[:, 0]
    require_finite([score])
    limit = limit_of(known.tolist(), false_positive_rate)
    return _ranked(score, known, max(limit, least), limit)


def limit_of(clean: Sequence[float], false_positive_rate: float) -> float:
    """The score that a further clean model exceeds with at most this probability.

    The k-th highest of n clean scores, k = floor(rate (1 + n)), whatever their distribution. Where n is too small for
    that (k = 0), the end of the prediction interval, which takes clean scores for normal, or the highest clean score
    if that is higher.

    >>> limit_of([float(number) for number in range(39)], 0.05), limit_of([1.0, 2.0, 30.0], 0.5)
    (37.0, 2.0)
    """
    allowed = min(len(clean), math.floor(false_positive_rate * (1 + len(clean)) + 1e-9))
    if allowed:
        return sorted(clean, reverse=True)[allowed - 1]
    return max(prediction_limit(clean, false_positive_rate), *clean)


def prediction_limit(clean: Sequence[float], false_positive_rate: float) -> float:
    """The end of the prediction interval of one further clean model, if clean scores are normal.

    With n clean scores of mean m and standard deviation s, (score - m) / (s sqrt(1 + 1/n)) follows Student's t with
    n - 1 degrees of freedom.

    Raises:
        UserError: fewer than three clean models.

    >>> round(prediction_limit([1.0, 2.0, 3.0], 0.05), 2)
    5.37
    >>> prediction_limit([1.0, 2.0], 0.05)
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: a calibration needs at least 3 clean models, this one has 2
    """
    values = checked([[value] for value in clean])
    centre, spread = _centre(values)
    return float(centre[0] - spread[0] * stdtrit(len(values) - 1, false_positive_rate))


def conformal_of_several(
    values: Sequence[float], clean: Sequence[Sequence[float]], false_positive_rate: float
) -> Verdict:
    """Judge several features of one model at once: the one that exceeds the clean models' most decides.

    The score is the largest feature, each one standardised by all other models: (value - m) / (s sqrt(1 + 1/n)). The
    clean models get theirs in the same way, each one with the model in question among the others, so that the n + 1
    scores are exchangeable if the models are, and the rank is exact whatever the distribution and however the features
    are correlated (full conformal prediction; Vovk et al., 2005, section 2.2). Where n is too small for ranks, the
    limit is Bonferroni's over the features for normal ones, or the highest clean score.

    Args:
        values: F features of the model.
        clean: for each of n clean models its F features.
        false_positive_rate: of the whole decision.

    Raises:
        UserError: fewer than three clean models, or one whose features are not finite.
        ArtifactError: a feature is not finite.

    >>> clean = [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]
    >>> verdict = conformal_of_several([2.0, 20.0], clean, false_positive_rate=0.05)
    >>> verdict.score, verdict.p_value
    (0.0, 0.75)
    """
    known = checked(clean)
    require_finite(values)
    models, count = np.vstack([known, np.asarray(values, dtype=float)]), len(known)
    scores = []
    for index in range(len(models)):
        centre, spread = _centre(np.delete(models, index, axis=0))
        scores.append(float(((models[index] - centre) / spread).max()))
    *others, score = scores
    limit = max(-float(stdtrit(count - 1, false_positive_rate / known.shape[1])), *others)
    if math.floor(false_positive_rate * (1 + count) + 1e-9):
        limit = limit_of(others, false_positive_rate)
    return _ranked(score, np.asarray(others), limit, limit)


def _ranked(score: float, clean: NDArray[np.float64], threshold: float, limit: float) -> Verdict:
    least = 1 / (1 + len(clean))
    p_value = (1 + int((clean >= score).sum())) * least
    return Verdict(score=score, threshold=threshold, p_value=min(1.0, p_value), limit=limit, least_p_value=least)


def _centre(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the prediction of one further row of (N, F), each (F,)."""
    spread = np.maximum(values.std(axis=0, ddof=1), 1e-6) * math.sqrt(1 + 1 / len(values))
    return values.mean(axis=0), spread


def checked(clean: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """The clean models' features (N, F). Raises UserError if they are too few or not finite.

    >>> checked([[1.0], [2.0], [float("nan")]])
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: a calibration needs finite scores; one of its clean models has NaN or infinity
    """
    if len(clean) < FEWEST:
        raise UserError(f"a calibration needs at least {FEWEST} clean models, this one has {len(clean)}")
    values: NDArray[np.float64] = np.asarray(clean, dtype=np.float64)
    if not np.isfinite(values).all():
        raise UserError("a calibration needs finite scores; one of its clean models has NaN or infinity")
    return values


def require_finite(values: Sequence[float]) -> None:
    """Raises ArtifactError for a model whose score is NaN or infinite: no comparison with it says anything.

    >>> require_finite([1.0, float("inf")])
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: the model's score is NaN or infinite: its weights or what it answers are damaged
    """
    if not all(math.isfinite(value) for value in values):
        raise ArtifactError("the model's score is NaN or infinite: its weights or what it answers are damaged")


def clean_threshold(scores: Sequence[float], false_positive_rate: float) -> float:
    """The score that a further clean input exceeds with at most this probability, whatever the distribution is.

    Of K clean scores it is the ceil((1 - rate)(K + 1))-th smallest (the largest if there are too few, see
    :func:`fewest_clean`).

    Raises:
        UserError: there are no clean scores, or one is not finite: among sorted numbers NaN has no place.

    >>> clean_threshold([float(number) for number in range(99)], 0.05)
    94.0
    >>> clean_threshold([1.0, 2.0], 0.05)
    2.0
    >>> clean_threshold([1.0, float("nan")], 0.05)
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: a threshold needs finite scores of clean inputs; one is NaN or infinity
    """
    if not len(scores):
        raise UserError("a threshold needs clean inputs, and there are none")
    if not all(math.isfinite(score) for score in scores):
        raise UserError("a threshold needs finite scores of clean inputs; one is NaN or infinity")
    rank = min(len(scores), math.ceil((1 - false_positive_rate) * (len(scores) + 1) - 1e-9))
    return float(sorted(float(score) for score in scores)[rank - 1])


def fewest_clean(false_positive_rate: float) -> int:
    """How many clean inputs a threshold of this rate needs: with fewer the rate cannot be kept.

    >>> fewest_clean(0.05), fewest_clean(0.01)
    (19, 99)
    """
    return math.ceil(1 / false_positive_rate - 1e-9) - 1


def conformal_p_values(scores: Sequence[float], clean: Sequence[float]) -> list[float]:
    """The p-value of each score by its rank among those of clean inputs, see :func:`conformal`.

    >>> conformal_p_values([5.0, 0.5], [1.0, 2.0, 3.0])
    [0.25, 1.0]
    """
    known = np.sort(np.asarray(clean, dtype=np.float64))
    above = len(known) - np.searchsorted(known, np.asarray(scores, dtype=np.float64), side="left")
    return [float(value) for value in (1 + above) / (1 + len(known))]
