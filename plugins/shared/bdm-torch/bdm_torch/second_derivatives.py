"""Derivatives of derivatives, which the fast kernels of attention do not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Forward passes within this block compute attention step by step: a second derivative goes through it.

    The flash and memory-efficient kernels of ``scaled_dot_product_attention`` have a first derivative alone. The
    answers are the same up to rounding; a pass takes longer and more memory.

    >>> import torch
    >>> x = torch.rand(1, 1, 3, 2, requires_grad=True)
    >>> with twice_differentiable():
    ...     made = torch.nn.functional.scaled_dot_product_attention(x, x, x).square().sum()
    >>> (slope,) = torch.autograd.grad(made, x, create_graph=True)
    >>> torch.autograd.grad(slope.sum(), x)[0].shape
    torch.Size([1, 1, 3, 2])
    """
    with sdpa_kernel(SDPBackend.MATH):
        yield
