"""The inserted layer while it learns: a 1x1 convolution and batch normalisation, one linear map in the end."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Polariser(nn.Module):
    """BN(W x) of the channels of features (N, C, H, W) or (N, C); the identity at first.

    Args:
        features: features that it will see, (N, C, H, W) or (N, C): their mean and variance start the normalisation.

    >>> seen = torch.tensor([[1.0, 5.0], [3.0, 5.5], [8.0, 7.0]])
    >>> polariser = Polariser(seen).eval()
    >>> bool(torch.allclose(polariser(seen), seen, atol=1e-4))
    True
    >>> weight, bias = polariser.as_linear()
    >>> weight.shape, bias.shape
    (torch.Size([2, 2]), torch.Size([2]))
    """

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        flat = features.detach().transpose(0, 1).flatten(1)
        channels = len(flat)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.dirac_(self.conv.weight)
        mean, variance = flat.mean(1), flat.var(1, correction=0)
        with torch.no_grad():
            self.norm.running_mean.copy_(mean)  # type: ignore[union-attr]
            self.norm.running_var.copy_(variance)  # type: ignore[union-attr]
            self.norm.bias.copy_(mean)
            self.norm.weight.copy_((variance + self.norm.eps).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """As many features as it gets."""
        if x.ndim == 2:
            return self.norm(self.conv(x[:, :, None, None]))[:, :, 0, 0]  # type: ignore[no-any-return]
        return self.norm(self.conv(x))  # type: ignore[no-any-return]

    def as_linear(self) -> tuple[Tensor, Tensor]:
        """The same map in evaluation mode: W (C, C) and b (C) of W x + b."""
        scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()  # type: ignore[operator]
        weight = scale[:, None] * self.conv.weight.flatten(1)
        return weight.detach(), (self.norm.bias - scale * self.norm.running_mean).detach()  # type: ignore[operator]
