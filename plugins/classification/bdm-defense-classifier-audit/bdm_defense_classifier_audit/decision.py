"""From the measures of classes to a verdict, by those of clean models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bdm_defense_classifier_audit.measures import MEASURES
from bdm_torch.calibration import Verdict, conformal_of_several
from bdm_torch.calibration_file import Calibrated, Calibration

CALIBRATED = Calibrated("classifier-audit", "bdm_defense_classifier_audit", features=len(MEASURES))
"""The features are the leads of the measures, in their order."""
FEWEST_CLASSES = 4
"""With fewer classes one is far from the others by chance."""


class Lead(NamedTuple):
    """By how much one class is ahead of all others in one measure.

    Attributes:
        measure: one of :data:`bdm_defense_classifier_audit.measures.MEASURES`.
        target: the class.
        size: log of the ratio of the second class's value to it (of a margin, of it to the second), at least 0.
    """

    measure: str
    target: int
    size: float


def leads(values: Mapping[str, Sequence[float]]) -> list[Lead]:
    """The lead of each measure.

    A backdoor with one target moves one class and leaves the order of the others as it is; how easy classes are to
    reach in general cancels.

    >>> leads({"patch": [4.0, 1.0, 2.0], "added": [1, 1, 1], "warp": [1, 1, 1], "margin": [2.0, 20.0, 10.0]})[0]
    Lead(measure='patch', target=1, size=0.6931471805599453)
    """
    found = []
    for measure in MEASURES:
        logs = [math.log(max(value, 1e-6)) for value in values[measure]]
        if measure == "margin":
            logs = [-value for value in logs]
        order = sorted(range(len(logs)), key=logs.__getitem__)
        found.append(Lead(measure, order[0], logs[order[1]] - logs[order[0]]))
    return found


def decide(found: Sequence[Lead], known: Calibration, false_positive_rate: float) -> Verdict:
    """Judge the leads of a model; the one that exceeds those of clean models by most decides."""
    return conformal_of_several([lead.size for lead in found], known.clean(), false_positive_rate)
