"""From the measures of classes to a verdict, by those of clean models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from bdm_defense_classifier_audit.measures import LARGE, MODES, OF_WEIGHTS, TOGETHER, Mode, measures_of
from bdm_torch.calibration import Verdict, conformal, conformal_of_several
from bdm_torch.calibration_file import Calibrated, Calibration

_OWN = {"margin": 0.23, "head": 0.06}
_BASELINE = {"patch": 0.3, "added": 0.2, "warp": 0.25, "spectrum": 0.3, "feature": 0.08, "noise": 0.05}
_PUBLIC = {"patch": 0.2, "added": 0.15, "warp": 0.25, "spectrum": 0.25, "feature": 0.07, "noise": 0.05}
SPREAD: dict[Mode, dict[str, float]] = {
    "pictures": {**_BASELINE, **_OWN},
    "reference": {**_PUBLIC, "margin": 0.2, "head": 0.07},
    "weights": _OWN,
}
"""How much classes of clean models differ in a measure, as a robust standard deviation of :func:`suspicion`."""
MOST = 6.0
"""Together, no measure counts more standard deviations."""
WEIGHT = {"head": 2.0, "margin": 0.0}
"""How often a measure counts together with those of pictures; once, if it is not named. Margins tell least."""
FEATURES = {mode: (*measures_of(mode), TOGETHER) for mode in MODES}
"""What a verdict of each mode is made of: a lead each."""
CALIBRATED = Calibrated("classifier-audit", "bdm_defense_classifier_audit", features=sum(map(len, FEATURES.values())))
"""The features are the leads of all modes, one mode after the other."""
FEWEST_CLASSES = 4
"""With fewer classes one is far from the others by chance."""
Values = Mapping[str, Sequence[float]]
"""Measure -> the value of each class."""


class Lead(NamedTuple):
    """By how much one class is ahead of all others in one measure.

    Attributes:
        measure: one of :data:`bdm_defense_classifier_audit.measures.MEASURES`, or all together.
        target: the class.
        size: at least 0; log of the ratio to the second class, or, of all together, how much its sum of standard
            deviations is above that of the median class.
    """

    measure: str
    target: int
    size: float


def suspicion(values: Values, measure: str, expected: Values | None = None) -> list[float]:
    """How suspicious each class is by one measure: log of the ratio to what is expected of it, the median class at 0.

    >>> suspicion({"patch": [1.0, 4.0, 4.0]}, "patch", {"patch": [2.0, 2.0, 2.0]})[0] == math.log(4)
    True
    """
    sign = 1 if measure in LARGE else -1
    logs = [sign * math.log(max(value, 1e-6)) for value in values[measure]]
    if expected is not None and measure in expected:
        logs = [own - sign * math.log(max(value, 1e-6)) for own, value in zip(logs, expected[measure], strict=True)]
    middle = median(logs)
    return [value - middle for value in logs]


def lead_of(measure: str, scores: Sequence[float]) -> Lead:
    """The class of the highest score and how far it is ahead of the second."""
    order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    return Lead(measure, order[0], scores[order[0]] - scores[order[1]])


def leads(values: Values, mode: Mode, expected: Values | None = None) -> list[Lead]:
    """The lead of each measure of a mode, and that of all together.

    A backdoor with one target moves one class and leaves the order of the others as it is; how easy classes are to
    reach in general cancels, and with ``expected`` also how easy each of them is.

    Args:
        values: of the model.
        mode: which measures count.
        expected: those of a model without a backdoor; None in the mode ``weights``.
    """
    every = {measure: suspicion(values, measure, expected) for measure in measures_of(mode)}
    spread, weight = SPREAD[mode], {} if mode == "weights" else WEIGHT
    standard = [
        [weight.get(name, 1.0) * max(-MOST, min(MOST, score / spread[name])) for score in scores]
        for name, scores in every.items()
    ]
    sums = [sum(of_class) for of_class in zip(*standard, strict=True)]
    first = max(range(len(sums)), key=sums.__getitem__)
    together = Lead(TOGETHER, first, sums[first] - median(sums))
    return [*(lead_of(measure, scores) for measure, scores in every.items()), together]


def decide(found: Sequence[Lead], mode: Mode, known: Calibration, false_positive_rate: float) -> Verdict:
    """Judge the leads of a model; the one that exceeds those of clean models by most decides."""
    return conformal_of_several([lead.size for lead in found], of_mode(known.clean(), mode), false_positive_rate)


def doubt_of(found: Sequence[Lead], mode: Mode, known: Calibration, doubt_rate: float) -> str:
    """Why a model that is not backdoored by any lead is not clean either; "" if it is.

    All measures together tell models apart that no single one does, but not well enough to call one of them backdoored.
    """
    together = [row[-1] for row in of_mode(known.clean(), mode)]
    verdict = conformal(found[-1].size, together, doubt_rate)
    if not verdict.unusual:
        return ""
    return (
        f"cannot tell: in all measures together one class is {verdict.score:.2g} standard deviations ahead of the "
        f"median class, and in {1 - doubt_rate:.0%} of clean models it is at most {verdict.limit:.2g}"
    )


def of_mode(features: Sequence[Sequence[float]], mode: Mode) -> list[list[float]]:
    """The features of one mode, of each clean model."""
    start = sum(len(FEATURES[other]) for other in MODES[: MODES.index(mode)])
    return [list(row[start : start + len(FEATURES[mode])]) for row in features]


def of_baseline(values: Values) -> dict[str, list[float]]:
    """What a baseline says of the classes: nothing of the weights."""
    return {measure: list(each) for measure, each in values.items() if measure not in OF_WEIGHTS}


def features_of(values: Values, baseline: Values, public: Values) -> list[float]:
    """What a calibration file has of a clean model: its leads in every mode, in their order."""
    expected: dict[Mode, Values | None] = {"pictures": baseline, "reference": public, "weights": None}
    return [lead.size for mode in MODES for lead in leads(values, mode, expected[mode])]
