"""A bound on how steep each channel of a layer is, from its weights alone."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from bdm_kit_classification.models.classifier import PrunableLayer


def channel_bounds(layer: PrunableLayer) -> Tensor:
    """(units,) float64: the largest singular value of a channel's kernel as a matrix of input channels by positions,
    times what the normalisation behind it multiplies with, if there is one (Zheng et al. 2022, arXiv 2208.03111,
    equations 5 and 7).

    >>> layer = PrunableLayer("conv", nn.Conv2d(2, 3, 1), None)
    >>> bool(torch.allclose(channel_bounds(layer), layer.layer.weight.double().flatten(1).norm(dim=1)))
    True
    """
    kernels: Tensor = layer.layer.weight.detach().double().cpu()  # type: ignore[operator, union-attr]
    found = torch.linalg.matrix_norm(kernels.reshape(kernels.shape[0], kernels.shape[1], -1), ord=2)
    if layer.norm is None:
        return found
    norm = cast(nn.BatchNorm2d, layer.norm)
    variance = cast(Tensor, norm.running_var).double().cpu()
    return found * (norm.weight.detach().double().cpu().abs() / (variance + norm.eps).sqrt())
