"""The picture that a unit answers to most, by gradient ascent from noise."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_kit_classification.models.classifier import Classifier, PrunableLayer
from bdm_kit_classification.models.feature_maps import outputs_of
from bdm_metric_neuron_analysis.units import by_unit, source

RATE, SMOOTHNESS = 0.05, 0.1


def favourite(classifier: Classifier, layer: PrunableLayer, unit: int, shape: tuple[int, ...], steps: int) -> Tensor:
    """(C, H, W) in [0, 1]: the mean of the unit's pre-activation is raised by Adam in so many steps.

    The total variation is held down, which keeps single pixels from standing out (Mahendran and Vedaldi 2015, arXiv
    1412.0035).
    """
    noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(unit))
    logits = noise.to(classifier.device).requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=RATE * 4)
    for _ in range(steps):
        picture = torch.sigmoid(logits)
        with outputs_of([source(layer)]) as outputs:
            classifier(picture)
        uneven = picture.diff(dim=2).abs().mean() + picture.diff(dim=3).abs().mean()
        loss = SMOOTHNESS * uneven - by_unit(outputs[0])[0, unit].mean()
        (logits.grad,) = torch.autograd.grad(loss, [logits])
        optimiser.step()
    return torch.sigmoid(logits).detach().cpu()[0]
