"""The classifiers of the built-in data sets; the Frechet distance of the built-in models is measured in their features.

``python -m bdm_kit_diffusion.recipes.digits_classifier`` (``shapes_classifier``) rebuilds them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_kit_diffusion.built_in import BUILTIN

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BUILTIN_CLASSIFIER = BUILTIN / "digits-classifier"
SHAPES_CLASSIFIER = BUILTIN / "shapes-classifier"
CLASSIFIERS: dict[tuple[int, int, int], Path] = {(1, 8, 8): BUILTIN_CLASSIFIER, (3, 16, 16): SHAPES_CLASSIFIER}
"""The shipped classifier for images of a shape (C, H, W)."""


def feature_space(
    shape: tuple[int, ...], wanted: str, device: str | torch.device = "cpu"
) -> tuple[str, Callable[[Tensor], Tensor]]:
    """Name and function of the features of images: (N, C, H, W) in [-1, 1] -> (N, D), both on ``device``.

    Args:
        shape: (C, H, W) of the images.
        wanted: ``pixels``, or ``auto`` for the shipped classifier's features where there is one for this shape.
        device: of the network.
    """
    folder = CLASSIFIERS.get((shape[0], shape[1], shape[2]))
    if wanted == "pixels" or folder is None:
        return "pixels", lambda images: images.flatten(1)
    from bdm_torch.features import load_classifier

    classifier = load_classifier(folder, device)
    return folder.name, lambda images: classifier.features(images.clamp(-1, 1))
