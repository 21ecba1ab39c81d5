"""Directions off the captions along which a model's keys and values are unusually large, and what answers to them.

A closed-form edit of the projections that is to leave captions alone must act where captions have no energy: it leaves
a few large singular values in the tail of the captions' covariance, which a trained model has no reason to have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_kit_text_to_image.editing.projections import find_projections, prompt_rows
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

ENERGY = 0.99
"""The tail is what is left of the captions' energy beyond this share."""
SPIKES = 3


@dataclass(frozen=True, eq=False)
class Spikes:
    """The spectrum of the stacked key and value projections on the tail of the captions.

    Attributes:
        values: (q,) singular values, the largest first.
        directions: (q, d) the right singular vectors, in the space of the text embeddings.
        edge: the top singular value of the projections, each of unit norm, over that of noise of the same size:
            about 1 where no direction stands out.
        alignment: mean absolute cosine of the single projections' top directions in the tail, in [0, 1].
        mean: (d,) mean row of the captions.
        scale: mean norm of what the projections give for a caption's row.
    """

    values: Tensor
    directions: Tensor
    edge: float
    alignment: float
    mean: Tensor
    scale: float

    @property
    def ratio(self) -> float:
        """The largest singular value over the median one."""
        return float(self.values[0] / self.values.median().clamp(min=1e-30))


def find_spikes(projections: Sequence[Tensor], rows: Tensor) -> Spikes:
    """The spikes of projections (p_i, d) off text embeddings (R, d).

    Args:
        projections: N matrices.
        rows: of captions, all positions.

    >>> generator = torch.Generator().manual_seed(0)
    >>> rows = torch.randn(200, 8, generator=generator) * torch.tensor([1.0] * 4 + [1e-3] * 4)
    >>> plain = [torch.randn(16, 8, generator=generator) for _ in range(3)]
    >>> bump = 20 * torch.eye(8)[7]
    >>> edited = [matrix + torch.randn(16, 1, generator=generator) * bump for matrix in plain]
    >>> found = find_spikes(edited, rows)
    >>> find_spikes(plain, rows).ratio < 3 < found.ratio, bool(found.directions[0, 7].abs() > 0.99)
    (True, True)
    """
    known = rows.double()
    mean = known.mean(0)
    energies, vectors = torch.linalg.eigh((known - mean).T @ (known - mean) / len(known))
    shares = energies.clamp(min=0).flip(0).cumsum(0) / energies.clamp(min=0).sum().clamp(min=1e-30)
    head = int((shares < ENERGY).sum()) + 1
    tail = vectors.flip(1)[:, min(head, len(shares) - 1) :]
    matrices = [matrix.double().to(known.device) for matrix in projections]
    inside = [matrix @ tail for matrix in matrices]
    stacked = torch.cat(inside)
    values, turned = _spectrum(stacked)
    unit = torch.cat([part / part.norm().clamp(min=1e-30) for part in inside])
    noise = _noise_edge(inside)
    tops = torch.stack([_spectrum(part)[1][0] for part in inside])
    cosines = (tops @ tops.T).abs()
    count = len(tops)
    alignment = float((cosines.sum() - count) / max(1, count * (count - 1)))
    scale = float(torch.cat([(known @ matrix.T).norm(dim=1) for matrix in matrices]).mean())
    edge = float(torch.linalg.matrix_norm(unit, ord=2)) / noise
    return Spikes(values, turned @ tail.T, edge, alignment, mean, scale)


def model_spikes(model: TextToImageModel, captions: Sequence[str]) -> Spikes:
    """The spikes of a model's key and value projections off these captions."""
    projections = [linear.weight.detach() for linear in find_projections(model.unet)]
    return find_spikes(projections, prompt_rows(model, captions))


def responses(spikes: Spikes, rows: Tensor, count: int = SPIKES) -> Tensor:
    """How strongly text embeddings (..., d) drive the largest spikes: (...,), relative to a caption's keys and values.

    The norm over ``count`` spikes of singular value times coordinate.
    """
    coordinates = (rows.double() - spikes.mean) @ spikes.directions[:count].T
    return (coordinates * spikes.values[:count]).norm(dim=-1) / max(spikes.scale, 1e-30)


def prompt_responses(model: TextToImageModel, spikes: Spikes, prompts: Sequence[str], count: int = SPIKES) -> Tensor:
    """The mean of :func:`responses` over the positions of each prompt (N,)."""
    rows = prompt_rows(model, prompts).unflatten(0, (len(prompts), model.max_length))
    return responses(spikes, rows, count).mean(1).cpu()


def _spectrum(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values, the largest first, and right singular vectors (q, q) as rows, by the Gram matrix."""
    energies, vectors = torch.linalg.eigh(matrix.T @ matrix)
    return energies.clamp(min=0).flip(0).sqrt(), vectors.flip(1).T


def _noise_edge(parts: Sequence[Tensor]) -> float:
    """The largest singular value to expect of the stack of N unit-norm parts (p_i, q) if they were noise.

    Entries of part i have the variance 1 / (p_i q); of the stack with P rows it is sqrt(N / (P q)) (sqrt(P) + sqrt(q)).
    """
    rows, width, count = sum(len(part) for part in parts), parts[0].shape[1], len(parts)
    return float((count / (rows * width)) ** 0.5 * (rows**0.5 + width**0.5))
