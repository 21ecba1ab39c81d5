"""FreeEagle (Fu et al., USENIX Security 2023, arXiv 2302.14500): inspecting a classifier without any data.

A representation in the middle of the network is optimised for each class. Representations of other classes lean towards
the target of a backdoor more than towards any clean class (section 4): the mean softmax that a class gets from the
representations of all others is an outlier for the target.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_defense_free_eagle.cutting import LaterPart
from bdm_defense_free_eagle.params import FEWEST_CLASSES, FreeEagleParams

Told = Callable[[int, int, float], None]


def representations(part: LaterPart, classes: int, params: FreeEagleParams, seed: int, told: Told) -> Tensor:
    """One representation for each class that the network takes for it with the least norm: (K, *shape).

    Args:
        part: of the network, behind the cut.
        classes: K.
        params: steps, rate, decay.
        seed: of the uniform start.
        told: (done, total, loss), for progress.
    """
    generator = torch.Generator().manual_seed(seed)
    device = part.classifier.device
    found = torch.rand((classes, *part.shape), generator=generator).to(device).requires_grad_()
    wanted = torch.arange(classes, device=device)
    optimiser = torch.optim.Adam([found], lr=params.learning_rate, weight_decay=params.weight_decay)
    for step in range(params.steps):
        with torch.enable_grad():
            loss = functional.cross_entropy(part(found), wanted, reduction="sum")  # each row has its own optimum
            (found.grad,) = torch.autograd.grad(loss, [found])
        optimiser.step()
        if part.rectified:
            found.data.clamp_(min=0)
        if step % 50 == 49 or step + 1 == params.steps:
            told(step + 1, params.steps, float(loss.detach()) / classes)
    return found.detach()


def tendencies(probabilities: Tensor) -> Tensor:
    """(K,): the mean probability that a class gets from the representations of all other classes.

    Args:
        probabilities: (K, K), of each class's representation.

    >>> tendencies(torch.tensor([[0.5, 0.25, 0.25], [0.4, 0.6, 0.0], [0.2, 0.0, 0.8]])).tolist()
    [0.30000001192092896, 0.125, 0.125]
    """
    count = len(probabilities)
    others = probabilities.masked_fill(torch.eye(count, dtype=torch.bool), 0)
    return others.sum(0) / (count - 1)


def anomaly(values: Tensor) -> float:
    """How far the largest value is beyond the upper quartile, in interquartile ranges.

    The quartiles are the values at the places int(K / 4) and int(3 K / 4) in order.

    Raises:
        UserError: fewer than five classes.

    >>> anomaly(torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 20.0]))
    3.5
    """
    if len(values) < FEWEST_CLASSES:
        raise UserError(f"free-eagle compares classes and needs {FEWEST_CLASSES}, this model has {len(values)}")
    ordered = values.double().sort().values
    low, high = ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]
    return float((ordered[-1] - high) / (high - low).clamp_min(1e-12))
