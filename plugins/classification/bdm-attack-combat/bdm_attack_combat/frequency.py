"""The cosine transform of pictures, and a detector of changed pictures that looks at it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.networks import SmallNetwork
from bdm_torch.draws import Draw, built_with_seed
from bdm_torch.training import TrainingOptions, train_in_stage


def cosine_matrix(size: int) -> Tensor:
    """The orthonormal DCT-II as a matrix (size, size): row k is the k-th frequency.

    >>> matrix = cosine_matrix(5)
    >>> torch.allclose(matrix @ matrix.T, torch.eye(5), atol=1e-6)
    True
    """
    place = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * (place + 0.5) * place[:, None]) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def transform(x: Tensor) -> Tensor:
    """The two-dimensional DCT-II of pictures (N, C, H, W)."""
    rows, columns = (cosine_matrix(size).to(x) for size in x.shape[2:])
    return rows @ x @ columns.T


def low_pass(x: Tensor, share: float) -> Tensor:
    """Pictures (N, C, H, W) with the lowest ``share`` of rows and columns of their DCT and nothing else."""
    kept = []
    for size in x.shape[2:]:
        matrix = cosine_matrix(size)[: max(1, round(share * size))].to(x)
        kept.append(matrix.T @ matrix)
    return kept[0] @ x @ kept[1]


class FrequencyDetector(nn.Module):
    """Tells changed pictures from others by the logarithm of their cosine transform (Zeng et al. 2021).

    Args:
        channels: of the pictures.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = SmallNetwork(channels, 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 2): unchanged, changed."""
        logits: Tensor = self.network.head(self.network.body(transform(x).abs().add(1e-3).log()))
        return logits


def tampered(x: Tensor, draw: Draw) -> Tensor:
    """Pictures changed in one of three ways each: noise everywhere, a noisy square, a noisy picture mixed in."""
    kind, noise = draw.uniform(1, 1, 1), draw.normal(*x.shape[1:])
    rows, columns = (torch.arange(size, device=x.device) / size for size in x.shape[2:])
    corner, side = draw.uniform(2) * 0.75, 0.25
    inside = [
        (at >= corner[:, one, None]) & (at < corner[:, one, None] + side) for one, at in ((0, rows), (1, columns))
    ]
    square = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
    mixed = 0.85 * x + 0.15 * (0.5 + 0.5 * noise).clamp(0, 1)
    changed = torch.where(kind < 1 / 3, x + 0.05 * noise, torch.where(kind < 2 / 3, mixed, x))
    return torch.where((kind >= 2 / 3) & square, 0.5 + 0.5 * noise, changed).clamp(0, 1)


def train_detector(ctx: Context, samples: LabelledSamples, steps: int, batch_size: int) -> FrequencyDetector:
    """A detector of training rows that were tampered with; frozen."""
    detector = built_with_seed(ctx.seed + 2, lambda: FrequencyDetector(samples.stored.shape[1]))

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        x = samples.raw(draw.rows(len(samples))).to(draw.device)
        kinds = torch.arange(2, device=x.device).repeat_interleave(len(x))
        return functional.cross_entropy(model(torch.cat([x, tampered(x, draw)])), kinds)

    options = TrainingOptions(steps, batch_size, 1e-3, optimizer="adam")
    train_in_stage(ctx, detector, loss, options, label="detector", curve="detector loss")
    return detector.requires_grad_(False)
