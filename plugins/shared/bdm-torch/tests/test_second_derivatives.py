"""Second derivatives through attention."""

import pytest
import torch
from torch.nn import functional

from bdm_torch.second_derivatives import twice_differentiable


def by_hand(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return scores.softmax(-1) @ value


def test_they_are_those_of_attention_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(2, 2, 5, 4, generator=generator, requires_grad=True) for _ in range(3)]
    vector = torch.randn(2, 2, 5, 4, generator=generator)
    found = []
    for attention in (functional.scaled_dot_product_attention, by_hand):
        with twice_differentiable():
            made = attention(*given)
        (slope,) = torch.autograd.grad(made.square().sum(), given[0], create_graph=True)
        found.append(torch.autograd.grad(slope, given, vector))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_without_it_the_library_has_none() -> None:
    """If this fails, the library has learnt it, and the block can go."""
    x = torch.rand(1, 2, 5, 4, requires_grad=True)
    made = functional.scaled_dot_product_attention(x, x, x)
    with pytest.raises(RuntimeError, match="not implemented"):
        (slope,) = torch.autograd.grad(made.sum(), x, create_graph=True)
        torch.autograd.grad(slope.sum(), x)
