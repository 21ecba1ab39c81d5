"""Train the shipped classifier of shapes: ``python -m bdm_kit_diffusion.recipes.shapes_classifier [FOLDER]``.

Same machine, same versions, same arguments: the same bytes. It prints the accuracy on the held-out pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bdm_kit_diffusion.data.classifiers import SHAPES_CLASSIFIER
from bdm_kit_diffusion.data.shapes import NAMES, SIDE, load_shapes
from bdm_torch.features import ImageClassifier, save_classifier


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift images (N, C, H, W) by up to one pixel, repeating the border, and add a little noise."""
    height, width = images.shape[2:]
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    row, column = (int(value) for value in torch.randint(0, 3, (2,), generator=generator))
    shifted = padded[:, :, row : row + height, column : column + width]
    return shifted + 0.1 * torch.randn(images.shape, generator=generator)


def fit(
    classifier: ImageClassifier, images: Tensor, labels: Tensor, *, steps: int, batch_size: int = 64, seed: int = 0
) -> None:
    """Train a classifier in place with label smoothing and dropout; it ends in evaluation mode.

    Args:
        classifier: for images of this shape.
        images: (N, C, H, W) in [-1, 1].
        labels: (N,) int64.
        steps: optimiser steps of AdamW at 2e-3, cosine schedule.
        batch_size: images a step.
        seed: of rows, shifts, noise and dropout.
    """
    optimizer = torch.optim.AdamW(classifier.train().parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(steps):
            rows = torch.randint(0, len(images), (batch_size,), generator=generator)
            scores = classifier(augment(images[rows], generator))
            loss = functional.cross_entropy(scores, labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    classifier.eval()


def untrained_classifier(seed: int = 0) -> ImageClassifier:
    """A classifier of the eight objects with 48 features; the seed is that of its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImageClassifier(image_size=SIDE, channels=3, widths=(24, 48), feature_count=48, classes=len(NAMES))


def main() -> None:
    """Train, save, and print the accuracy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=SHAPES_CLASSIFIER)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shapes, held_out = load_shapes(), load_shapes("held-out")
    classifier = untrained_classifier(arguments.seed)
    fit(classifier, shapes.images, shapes.labels, steps=2500, seed=arguments.seed)
    accuracy = (classifier.logits(held_out.images).argmax(1) == held_out.labels).float().mean().item()
    save_classifier(classifier, arguments.folder)
    print(f"held-out accuracy {accuracy:.4f}; wrote {arguments.folder}")


if __name__ == "__main__":
    main()
