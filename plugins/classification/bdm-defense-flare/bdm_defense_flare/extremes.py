"""The most extreme activations of each row (Hou et al., FLARE, 2024, arXiv 2411.19479).

Every batch normalisation knows mean and variance of what it sees. The lowest likelihood of a row's values under them,
over channels and places, says how extreme the row is in that layer; a row is the vector of these over all layers. A
trigger is a few extreme values in some layers, so that poisoned rows lie together and apart.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN
from torch import Tensor, nn

from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.feature_maps import watched
from bdm_kit_classification.models.classifier import Classifier


def extremes(
    classifier: Classifier,
    samples: LabelledSamples,
    norms: list[nn.BatchNorm2d],
    *,
    likelihoods: bool = False,
    batch_size: int = 256,
) -> Tensor:
    """How extreme each row is in each normalisation, (N, layers) float64.

    Args:
        classifier: put into evaluation mode.
        samples: the rows.
        norms: of the classifier.
        likelihoods: the published numbers, the least log N(z; mean, variance) over channels and places; else the
            logarithm of the largest squared standardised value: without the channel's deviation, and about symmetric.
        batch_size: rows at once.
    """
    places = {id(norm): place for place, norm in enumerate(norms)}
    found: list[list[Tensor]] = [[] for _ in norms]

    def see(module: nn.Module, given: Tensor, made: Tensor) -> None:
        mean, variance = (values[None, :, None, None] for values in (module.running_mean, module.running_var))
        numbers = (given - mean).square() / (variance + module.eps)
        if likelihoods:
            numbers = numbers + (2 * torch.pi * (variance + module.eps)).log()  # -2 log N
        found[places[id(module)]].append(numbers.flatten(1).amax(1).double().cpu())

    classifier.eval()
    with watched(list(norms), see), torch.inference_mode():
        for _, raw in samples.split(batch_size):
            classifier(samples.modality.collate(raw, classifier))
    largest = torch.stack([torch.cat(parts) for parts in found], 1)
    return -largest / 2 if likelihoods else largest.clamp_min(1e-12).log()


def distances(vectors: Tensor, clean: Tensor) -> Tensor:
    """Squared Mahalanobis distance of vectors (N, L) from clean ones (M, L): (N,)."""
    covariance = torch.cov(clean.T, correction=0).reshape(clean.shape[1], clean.shape[1])
    covariance = covariance + (0.01 * covariance.diagonal().mean() + 1e-9) * torch.eye(len(covariance)).double()
    rest = vectors - clean.mean(0)
    return (rest * torch.linalg.solve(covariance, rest.T).T).sum(1)


def dense_cluster(values: NDArray[np.float64], smallest: int, neighbours: int) -> Tensor | None:
    """How surely each row (N, D) belongs to the densest cluster but the largest, in [0, 1]; None if there is only one.

    Clusters are those of HDBSCAN; the densest one has the smallest median distance to the cluster's centre.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        found = HDBSCAN(min_cluster_size=smallest, min_samples=min(neighbours, len(values) - 1)).fit(values)
    names, sizes = np.unique(found.labels_[found.labels_ >= 0], return_counts=True)
    if len(names) < 2:
        return None
    widths = {}
    for name in np.delete(names, sizes.argmax()):
        members = values[found.labels_ == name]
        widths[name] = np.median(np.linalg.norm(members - np.median(members, 0), axis=1))
    chosen = min(widths, key=lambda name: widths[name])
    return torch.from_numpy(np.where(found.labels_ == chosen, np.maximum(found.probabilities_, 1e-6), 0.0))
