"""The classifier that the perturbation has to fool: the built-in one for the digits, else one trained on the data."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_uibdiffusion.perturbation import Classifier
from bdm_kit_diffusion.data.classifiers import BUILTIN_CLASSIFIER
from bdm_torch.features import load_classifier

BUILTIN_SHAPE, TRUSTED_ACCURACY = (1, 8, 8), 0.9
CLUSTERS, CLUSTER_ROUNDS = 10, 15
STEPS, BATCH_SIZE, LEARNING_RATE = 300, 64, 2e-3


def fooled_classifier(images: Tensor, labels: Tensor | None, seed: int) -> tuple[Classifier, str]:
    """A classifier of the images and how it was made; on the images' device.

    Args:
        images: (N, C, H, W) in [-1, 1].
        labels: (N,) int64 on any device; None if there are none: then the classes are clusters of similar images.
        seed: of clusters and training.
    """
    labels = None if labels is None else labels.to(images.device)
    if labels is not None and tuple(images.shape[1:]) == BUILTIN_SHAPE:
        builtin = load_classifier(BUILTIN_CLASSIFIER, images.device)
        if float((builtin(images).argmax(1) == labels).float().mean()) > TRUSTED_ACCURACY:
            return builtin, "built-in digits classifier"
    if labels is not None:
        return train_classifier(images, labels, seed), "trained on the labels"
    return train_classifier(images, clusters(images, seed), seed), "trained on clusters"


def clusters(images: Tensor, seed: int, count: int = CLUSTERS) -> Tensor:
    """Cluster numbers (N,) of images (N, C, H, W), by Lloyd's algorithm on the pixels."""
    flat = images.flatten(1)
    order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed % 2**63))
    centres = flat[order[: min(count, len(flat))].to(flat.device)]
    for _ in range(CLUSTER_ROUNDS):
        nearest = torch.cdist(flat, centres).argmin(1)
        members = [flat[nearest == index] for index in range(len(centres))]
        centres = torch.stack([own.mean(0) if len(own) else old for own, old in zip(members, centres, strict=True)])
    return torch.cdist(flat, centres).argmin(1)


def train_classifier(images: Tensor, labels: Tensor, seed: int, steps: int = STEPS) -> nn.Module:
    """A small convolutional network, trained on (N, C, H, W) in [-1, 1] with labels (N,); in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        network = nn.Sequential(
            nn.Conv2d(images.shape[1], 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(64 * 16, int(labels.max()) + 1),
        ).to(images.device)
    draws = torch.Generator().manual_seed(seed % 2**63)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    labels = labels.to(images.device)
    for _ in range(steps):
        rows = torch.randint(len(images), (BATCH_SIZE,), generator=draws).to(images.device)
        loss = functional.cross_entropy(network(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval().requires_grad_(False)
