"""Train the shipped classifiers of digits and shapes: ``python -m bdm_kit_diffusion.recipes.joint_classifiers``.

They tell whether a model of the one data set paints a class of the other. Same machine, same versions: the same bytes.
It prints the accuracy on held-out pictures of either kind.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.data.shapes import NAMES, Split, load_shapes, silhouettes
from bdm_kit_diffusion.poison.target_classes import JOINT_CLASSIFIERS, resized
from bdm_kit_diffusion.recipes.digits_classifier import split_digits
from bdm_kit_diffusion.recipes.shapes_classifier import fit
from bdm_torch.features import ImageClassifier, save_classifier

DIGITS = 10
WIDTHS = {1: (32, 64), 3: (24, 48)}


def pictures_of_both(shape: tuple[int, int, int], split: Split) -> tuple[Tensor, Tensor]:
    """Digits and shapes at one shape (C, H, W): images (N, C, H, W) in [-1, 1], labels (N,) in 0 to 17."""
    digits, labels = load_digits()
    rows = split_digits()[0 if split == "train" else 1]
    shapes = load_shapes(split).images if shape[0] == 3 else silhouettes(shape[1], split)[0]
    objects = load_shapes(split).labels
    return torch.cat([resized(digits[rows], shape), shapes]), torch.cat([labels[rows], objects + DIGITS])


def untrained_classifier(shape: tuple[int, int, int], seed: int = 0) -> ImageClassifier:
    """A classifier of 18 classes; the seed is that of its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImageClassifier(shape[1], shape[0], WIDTHS[shape[0]], classes=DIGITS + len(NAMES))


def main() -> None:
    """Train both, save, and print the accuracies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=BUILTIN, help="a folder for the two folders")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    for shape, name in JOINT_CLASSIFIERS.items():
        classifier = untrained_classifier(shape)
        fit(classifier, *pictures_of_both(shape, "train"), steps=1500)
        images, labels = pictures_of_both(shape, "held-out")
        right = (classifier.logits(images).argmax(1) == labels).float()
        digits, shapes = (right[part].mean().item() for part in (labels < DIGITS, labels >= DIGITS))
        save_classifier(classifier, folder / name)
        print(f"{name}: held-out accuracy {digits:.4f} of digits, {shapes:.4f} of shapes; wrote {folder / name}")


if __name__ == "__main__":
    main()
