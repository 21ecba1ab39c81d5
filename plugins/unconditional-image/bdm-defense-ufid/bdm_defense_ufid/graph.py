"""The similarity graph of a query (UFID, Guan et al., AAAI 2025, arXiv 2404.01101).

The vertices are the images generated from a query and from its perturbed copies, the weight of an edge is the cosine of
their features, the graph is complete. Its density, the mean weight, is high where a trigger decides what is generated,
whatever the rest of the noise is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bdm_kit_diffusion.built_in import BUILTIN
from bdm_torch.features import load_classifier

Embed = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) in [-1, 1] -> features (N, D)."""
CLASSIFIERS = {(1, 8, 8): "digits-classifier", (3, 16, 16): "shapes-classifier"}
"""The kit's classifiers by the shape of the images that they take."""


def perturbed(queries: Tensor, noise: Tensor, strength: float) -> Tensor:
    """Each query and its copies (x + c e) / sqrt(1 + c^2), which has unit variance for clean x: (N, M + 1, C, H, W).

    Args:
        queries: (N, C, H, W).
        noise: (N, M, C, H, W), e.
        strength: c.
    """
    copies = (queries[:, None] + strength * noise) / (1 + strength**2) ** 0.5
    return torch.cat([queries[:, None], copies], 1)


def densities(features: Tensor) -> Tensor:
    """Mean cosine over all pairs of the V vertices of each graph, features (N, V, D), V >= 2: (N,), float64."""
    unit = torch.nn.functional.normalize(features.double(), dim=2)
    weights = unit @ unit.transpose(1, 2)
    count = features.shape[1]
    return (weights.sum((1, 2)) - weights.diagonal(dim1=1, dim2=2).sum(1)) / (count * (count - 1))


def embedding(shape: tuple[int, int, int], wanted: str, device: str | torch.device) -> tuple[str, Embed]:
    """Name and function of the features for images of a shape (C, H, W)."""
    name = CLASSIFIERS.get(shape)
    if wanted == "pixels" or name is None or not (BUILTIN / name).is_dir():
        return "pixels", lambda images: images.flatten(1)
    classifier = load_classifier(BUILTIN / name, device)
    return name, lambda images: classifier.features(images.clamp(-1, 1))
