"""The similarity graph of a query (UFID, Guan et al., AAAI 2025, arXiv 2404.01101).

The vertices are the images generated from a query and from its perturbed copies, the weight of an edge is the cosine of
their features, the graph is complete. Its density, the mean weight, is high where a trigger decides what is generated,
whatever the rest of the noise is: :func:`bdm_torch.diversity.densities`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def perturbed(queries: Tensor, noise: Tensor, strength: float) -> Tensor:
    """Each query and its copies (x + c e) / sqrt(1 + c^2), which has unit variance for clean x: (N, M + 1, C, H, W).

    Args:
        queries: (N, C, H, W).
        noise: (N, M, C, H, W), e.
        strength: c.
    """
    copies = (queries[:, None] + strength * noise) / (1 + strength**2) ** 0.5
    return torch.cat([queries[:, None], copies], 1)
