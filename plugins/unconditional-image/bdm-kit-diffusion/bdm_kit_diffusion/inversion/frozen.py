"""A network that is only asked, for as long as a search asks it: faster, and afterwards exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """In evaluation mode, without gradients of its weights; on a CPU its convolutions work with channels last.

    Without the weights' gradients a backward pass takes about half of the time. With channels last, both passes of
    small batches take a tenth to a quarter less; values change by rounding only. On leaving, mode, gradients and the
    weights' own memory are restored.

    >>> network = nn.Conv2d(2, 4, 3)
    >>> with frozen(network) as asked:
    ...     asked.training, asked.weight.requires_grad
    (False, False)
    >>> network.training, network.weight.requires_grad, network.weight.is_contiguous()
    (True, True, True)
    """
    modes = [(module, module.training) for module in network.modules()]
    needed = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
    before = [(weight, weight.data) for weight in weights if weight.device.type == "cpu"]
    network.eval().requires_grad_(False)
    for weight, data in before:
        weight.data = data.contiguous(memory_format=torch.channels_last)
    try:
        yield network
    finally:
        for weight, data in before:
            weight.data = data
        for parameter, value in needed:
            parameter.requires_grad_(value)
        for module, training in modes:
            module.training = training
