"""Batch normalisation over the batches of all processes, so that a training of several equals that of one.

Each process sees a share of a batch. With the share's own mean and variance a network is trained otherwise than by one
process that sees the whole. ``torch.nn.SyncBatchNorm`` does this on GPUs alone; this works everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn import functional as across


@contextmanager
def shared_statistics(network: nn.Module) -> Iterator[None]:
    """Within this, batch normalisations in training mode use the samples of all processes; one process is left alone.

    >>> network = nn.BatchNorm2d(2)
    >>> with shared_statistics(network):
    ...     normal = network(torch.rand(3, 2, 4, 4))
    >>> normal.shape, "forward" in vars(network)
    (torch.Size([3, 2, 4, 4]), False)
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    norms = [module for module in network.modules() if isinstance(module, kinds)]
    for norm in norms:
        norm.forward = partial(_normalised, norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _normalised(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    if not several or not norm.training:
        return type(norm).forward(norm, x)
    axes = [axis for axis in range(x.ndim) if axis != 1]
    form = [1, -1, *([1] * (x.ndim - 2))]
    wide = torch.promote_types(x.dtype, torch.float32)  # half precision does not count beyond 65,504
    here = torch.tensor([x.numel() // x.shape[1]], dtype=wide, device=x.device)
    sums: Tensor = across.all_reduce(torch.cat([x.sum(axes, dtype=wide), here]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    apart = x.to(wide) - mean.view(form)
    variance: Tensor = across.all_reduce(apart.square().sum(axes)) / count
    if norm.track_running_stats and norm.running_mean is not None and norm.running_var is not None:
        with torch.no_grad():
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
            share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean.to(norm.running_mean), share)
            norm.running_var.lerp_((variance * count / (count - 1).clamp_min(1)).to(norm.running_var), share)
    result = apart * (variance + norm.eps).rsqrt().view(form)
    result = result * norm.weight.view(form) + norm.bias.view(form) if norm.affine else result
    return result.to(x.dtype)
