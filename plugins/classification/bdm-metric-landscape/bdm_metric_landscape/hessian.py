"""The spectrum of a Hessian by the Lanczos iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bdm_torch.second_derivatives import twice_differentiable

Multiply = Callable[[Tensor], Tensor]
"""From a vector (D,) to the matrix times it."""


class Spectrum(NamedTuple):
    """Ritz values (probes, m) of the iterations and their weights, which sum to 1 in each row."""

    values: Tensor
    weights: Tensor

    @property
    def top(self) -> float:
        """The largest Ritz value: at most the largest eigenvalue, and near it."""
        return float(self.values.max())

    @property
    def mean(self) -> float:
        """The mean eigenvalue, estimated: the trace divided by the dimension."""
        return float((self.values * self.weights).sum(1).mean())


def hessian_product(loss: Callable[[], Tensor], parameters: Sequence[Tensor]) -> Multiply:
    """The product of the Hessian of a loss with a vector, by a second backward pass (Pearlmutter 1994).

    Parameters that the loss does not depend on have rows and columns of zeros.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> hessian_product(lambda: (x[0] ** 2 + 3 * x[0] * x[1]), [x])(torch.tensor([1.0, 0.0])).tolist()
    [2.0, 3.0]
    """
    with torch.enable_grad(), twice_differentiable():
        every = torch.autograd.grad(loss(), parameters, create_graph=True, allow_unused=True)
    used = [number for number, gradient in enumerate(every) if gradient is not None]
    gradients = [every[number] for number in used]
    sizes = [parameter.numel() for parameter in parameters]

    def multiply(vector: Tensor) -> Tensor:
        parts = [part.reshape(p.shape).to(p) for part, p in zip(vector.split(sizes), parameters, strict=True)]
        with torch.enable_grad():
            chosen = [parts[number] for number in used]
            made = torch.autograd.grad(gradients, parameters, chosen, retain_graph=True, allow_unused=True)
        flat = [torch.zeros_like(p) if g is None else g for g, p in zip(made, parameters, strict=True)]
        return torch.cat([item.detach().reshape(-1) for item in flat])

    return multiply


def lanczos(multiply: Multiply, dimension: int, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ritz values (m,), rising, and the squares of the first components of their vectors; m is at most ``steps``.

    Lanczos with full reorthogonalisation from a random sign vector: with as many steps as dimensions the values are the
    eigenvalues. Float64 outside of ``multiply``.
    """
    vector = torch.randint(0, 2, (dimension,), generator=generator).double() * 2 - 1
    basis = [vector / vector.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for step in range(min(steps, dimension)):
        found = multiply(basis[-1].float()).double().cpu()
        diagonal.append(float(found @ basis[-1]))
        for _ in range(2):
            every = torch.stack(basis)
            found = found - every.T @ (every @ found)
        length = float(found.norm())
        if length < 1e-8 * max(1.0, abs(diagonal[0])) or step + 1 == min(steps, dimension):
            break
        beside.append(length)
        basis.append(found / length)
    off = torch.tensor(beside[: len(diagonal) - 1], dtype=torch.float64)
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64)) + torch.diag(off, 1) + torch.diag(off, -1)
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors[0].square()


def spectrum(multiply: Multiply, dimension: int, steps: int, probes: int, seed: int) -> Spectrum:
    """Stochastic Lanczos quadrature (Ghorbani et al. 2019, arXiv 1901.10159)."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    found = [lanczos(multiply, dimension, steps, generator) for _ in range(probes)]
    longest = max(len(values) for values, _ in found)
    rows = [torch.nn.functional.pad(item, (0, longest - len(item))) for pair in found for item in pair]
    return Spectrum(torch.stack(rows[::2]), torch.stack(rows[1::2]))


def density(found: Spectrum, points: int = 200) -> tuple[Tensor, Tensor]:
    """Places and the smoothed density of eigenvalues there: Gaussians of a hundredth of the range."""
    low, high = float(found.values.min()), float(found.values.max())
    width = max((high - low) / 100, 1e-9)
    places = torch.linspace(low - 3 * width, high + 3 * width, points, dtype=torch.float64)
    bells = torch.exp(-0.5 * ((places[:, None, None] - found.values) / width) ** 2) / (width * (2 * torch.pi) ** 0.5)
    return places, (bells * found.weights).sum(2).mean(1)
