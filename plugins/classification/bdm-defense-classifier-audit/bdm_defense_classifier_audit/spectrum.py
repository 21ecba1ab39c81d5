"""For each class the pattern of the fewest frequencies that sends every picture to it when it is added.

Waves, dots in the spectrum and much of what is invisible in pictures is large as a picture and small as a spectrum. The
norm of a pattern is the sum over the frequencies of the discrete cosine transform, each frequency counted by the L2
norm over its channels (a group lasso; Yuan and Lin, 2006), so that few frequencies are cheaper than many.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bdm_defense_classifier_audit.searches import FAILED, SUCCESS, Aims
from bdm_kit_classification.models.classifier import Classifier

RATE = 0.3
"""Learning rate of Adam on the spectrum."""
SHRINKAGE = 30 * RATE
"""By how much a frequency shrinks in a step, times the weight of the norm."""


def cosine_basis(size: int) -> Tensor:
    """The orthonormal discrete cosine transform (type 2), (size, size): rows are the frequencies.

    >>> basis = cosine_basis(4)
    >>> bool(torch.allclose(basis @ basis.T, torch.eye(4), atol=1e-6))
    True
    """
    frequency, place = torch.arange(size).float()[:, None], torch.arange(size).float()[None]
    basis = torch.cos(math.pi * (place + 0.5) * frequency / size) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis


def spectral_norm(spectrum: Tensor) -> Tensor:
    """Sum over frequencies of the L2 norm over channels, (K, C, H, W) -> (K,)."""
    return magnitudes(spectrum).flatten(1).sum(1)


def magnitudes(spectrum: Tensor) -> Tensor:
    """L2 norm over channels of each frequency, (K, C, H, W) -> (K, 1, H, W), above 0."""
    return (spectrum.square().sum(1, keepdim=True) + 1e-12).sqrt()


def smallest_spectra(classifier: Classifier, pictures: Tensor, aims: Aims, steps: int, seed: int) -> Tensor:
    """The smallest norm of a spectrum for each class, (K,).

    Adam on the cross entropy, after each step a proximal step of the norm, whose weight grows with success and falls
    without.

    Args:
        classifier: gives logits.
        pictures: (n, C, H, W) in [0, 1].
        aims: what to reach.
        steps: forward and backward passes of K n pictures.
        seed: of the first spectra.
    """
    height, width = pictures.shape[2:]
    rows, columns = (cosine_basis(size).to(pictures.device) for size in (height, width))
    generator = torch.Generator().manual_seed(seed % 2**63)
    first = 0.05 * torch.randn(aims.classes, *pictures.shape[1:], generator=generator)
    spectrum = first.to(pictures.device).requires_grad_(True)
    optimiser = torch.optim.Adam([spectrum], lr=RATE, betas=(0.5, 0.9))
    weight = torch.full((aims.classes,), 1e-3, device=pictures.device)
    best = torch.full_like(weight, float("nan"))
    norm = best
    for _ in range(steps):
        pattern = rows.T @ spectrum @ columns
        logits = classifier((pictures[None] + pattern[:, None]).clamp(0, 1).flatten(0, 1))
        norm = spectral_norm(spectrum.detach())
        optimiser.zero_grad()
        aims.error(logits).sum().backward()
        optimiser.step()
        hit = aims.success(logits.detach()) >= SUCCESS
        best = torch.where(hit & ~(best <= norm), norm, best)
        with torch.no_grad():
            spectrum *= (1 - SHRINKAGE * weight.view(-1, 1, 1, 1) / magnitudes(spectrum)).clamp_min(0)
        weight = torch.where(hit, weight * 1.15, weight / 1.2).clamp(1e-5, 0.5)
    return torch.where(best.isnan(), FAILED * norm, best)
