"""Train the shipped digits classifier: ``python -m bdm_kit_diffusion.recipes.digits_classifier [FOLDER]``.

Same machine, same versions, same arguments: the same bytes. It prints the accuracy on the held-out fifth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.data.classifiers import BUILTIN_CLASSIFIER
from bdm_torch.features import ImageClassifier, save_classifier


def split_digits(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices of the 1437 training and the 360 held-out digits."""
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(seed))
    return order[:1437], order[1437:]


def _augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift by up to one pixel and add a little noise, so that features describe strokes and not single pixels."""
    padded = functional.pad(images, (1, 1, 1, 1), value=-1.0)
    row, column = (int(value) for value in torch.randint(0, 3, (2,), generator=generator))
    shifted = padded[:, :, row : row + 8, column : column + 8]
    return shifted + 0.1 * torch.randn(images.shape, generator=generator)


def train_classifier(
    steps: int = 3000, batch_size: int = 64, learning_rate: float = 2e-3, seed: int = 0
) -> tuple[ImageClassifier, float]:
    """Train on four fifths of the digits; return the classifier and its accuracy on the rest."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    images, labels = load_digits()
    train, held_out = split_digits(seed)
    classifier = ImageClassifier().train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = train[torch.randint(0, len(train), (batch_size,), generator=generator)]
        loss = functional.cross_entropy(
            classifier(_augment(images[rows], generator)), labels[rows], label_smoothing=0.05
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    classifier.eval()
    accuracy = (classifier.logits(images[held_out]).argmax(1) == labels[held_out]).float().mean().item()
    return classifier, accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=BUILTIN_CLASSIFIER)
    arguments = parser.parse_args()
    classifier, accuracy = train_classifier()
    save_classifier(classifier, arguments.folder)
    print(f"held-out accuracy {accuracy:.4f}; wrote {arguments.folder}")


if __name__ == "__main__":
    main()
