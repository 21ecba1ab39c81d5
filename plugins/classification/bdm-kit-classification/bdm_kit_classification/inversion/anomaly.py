"""Which class has a trigger that is far smaller than those of the others: the anomaly index by median deviations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from bdm_kit_classification.inversion.params import InversionParams
from bdm_torch.calibration import Verdict, conformal
from bdm_torch.calibration_file import Calibrated, Calibration

CONSISTENCY = 1.4826
"""By which the median absolute deviation of normal values is multiplied to give their standard deviation."""


REACHED = 0.5
"""Success above which a trigger was found at all."""


@dataclass(frozen=True, eq=False)
class Anomaly:
    """How far the values of classes lie from their median.

    Attributes:
        indices: (K,) the anomaly index of each class, positive below the median, negative above it.
    """

    indices: Tensor

    @property
    def most(self) -> int:
        """The class that lies lowest."""
        return int(self.indices.argmax())

    @property
    def score(self) -> float:
        """The index of that class."""
        return float(self.indices.max())

    def above(self, threshold: float) -> list[int]:
        """The classes with a higher index, the most anomalous first."""
        order = self.indices.argsort(descending=True, stable=True).tolist()
        return [int(place) for place in order if float(self.indices[place]) > threshold]


def anomaly(values: Tensor) -> Anomaly:
    """The anomaly index of each of K values (Wang et al. 2019, section IV-B).

    The distance from the median over the median of such distances times 1.4826; only values below the median can be
    anomalous. Where more than half of all values are equal, the deviation counts as 1e-6 of the median.

    >>> import torch
    >>> anomaly(torch.tensor([50.0, 52.0, 48.0, 51.0, 5.0])).most
    4
    >>> round(anomaly(torch.tensor([50.0, 52.0, 48.0, 51.0, 5.0])).score, 2)
    15.18
    """
    middle = values.double().quantile(0.5)
    deviation = (values.double() - middle).abs().quantile(0.5) * CONSISTENCY
    return Anomaly((middle - values.double()) / deviation.clamp_min(float(middle.abs()) * 1e-6 + 1e-12))


def judged(score: float, threshold: float, known: Calibration | None, false_positive_rate: float) -> Verdict | None:
    """The verdict by clean models whose scores are known; None without them.

    Its threshold is that of the paper or the limit of clean models, whichever is higher.
    """
    if known is None:
        return None
    return conformal(score, known.column(), false_positive_rate, least=threshold)


def unfit(calibrated: Calibrated, params: InversionParams, known: Calibration | None, shape: Sequence[int] = ()) -> str:
    """Why a calibration says nothing of a model whose samples have this shape, or of this search; "" if it does."""
    if known is None:
        return ""
    outside = known.outside(shape, {})
    return f"cannot tell: {outside}" if outside else calibrated.other_settings(params, known)


def led_nowhere(success: Tensor, flagged: bool) -> str:
    """Why a search says nothing of a model that it does not flag: half of the classes or more were not reached, so that
    the sizes of their triggers mean nothing; "" if it says something.

    Args:
        success: (K,) share of clean rows that the trigger of each class sends there.
        flagged: whether a class stands out all the same.

    >>> import torch
    >>> led_nowhere(torch.tensor([1.0, 0.9, 0.1]), False), led_nowhere(torch.tensor([1.0, 0.1, 0.1]), True)
    ('', '')
    """
    reached = int((success > REACHED).sum())
    if flagged or 2 * reached > len(success):
        return ""
    return (
        f"cannot tell: the search found triggers of {reached} of {len(success)} classes, too few to compare: raise "
        "inversion_steps, or give more clean rows (--data-share)"
    )


def calibration_of(calibrated: Calibrated, path: str) -> Calibration | None:
    """The calibration of a file; without a path the one shipped, if there is one. Raises UserError if it is none."""
    if not path and not Path(calibrated.shipped).exists():
        return None
    return calibrated.read(path)
