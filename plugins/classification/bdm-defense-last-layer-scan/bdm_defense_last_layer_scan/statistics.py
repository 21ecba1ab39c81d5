"""What the last layer's weights say of a class that everything can be sent to, in the manner of DFBScanner.

A backdoor with one target needs a direction in feature space that raises one logit above all others, whatever else is
there: one row of the last layer then has a weight, or an amount of positive weight, that no other row has.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from bdm_core.errors import UserError
from bdm_defense_last_layer_scan.params import FEWEST_CLASSES


class HeadStatistics(NamedTuple):
    """Three numbers of a last layer; none changes when all weights are multiplied by one number.

    Attributes:
        largest_weight: the largest weight, in units of the root mean square of all.
        positive_mass: the largest sum of a class's positive weights, over the mean of the classes.
        lead: by how much the class with the largest weight exceeds the next one, in the same unit.
    """

    largest_weight: float
    positive_mass: float
    lead: float


def head_statistics(weight: Tensor) -> tuple[HeadStatistics, int]:
    """The statistics of a last layer, and the class whose positive mass is largest.

    Args:
        weight: (K, F).

    Raises:
        UserError: fewer than three classes, or all weights are equal.

    >>> weight = torch.tensor([[1.0, -1.0], [1.0, 3.0], [-1.0, 1.0]])
    >>> found, suspect = head_statistics(weight)
    >>> [round(value, 4) for value in found], suspect
    ([1.964, 2.0, 1.3093], 1)
    """
    values = weight.detach().double().cpu()
    if len(values) < FEWEST_CLASSES:
        raise UserError(f"last-layer-scan compares classes and needs {FEWEST_CLASSES}, this model has {len(values)}")
    unit = values.square().mean().sqrt()
    if float(unit) <= 0:
        raise UserError("last-layer-scan: all weights of the last layer are 0, there is nothing to compare")
    largest = (values / unit).amax(1).sort(descending=True).values
    mass = values.clamp_min(0).sum(1)
    found = HeadStatistics(
        float(largest[0]), float(mass.max() / mass.mean().clamp_min(1e-12)), float(largest[0] - largest[1])
    )
    return found, int(mass.argmax())


def centred(weight: Tensor) -> Tensor:
    """Weights (K, F) less the mean of the classes: what no softmax tells apart is left out.

    >>> centred(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    return weight - weight.mean(0, keepdim=True)
