"""Features of pictures by name, for whoever compares pictures of one model with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_kit_text_to_image.judging.contrastive import load_contrastive, require_contrastive

Features = Callable[[Tensor], Tensor]
"""Pictures (N, 3, H, W) in [-1, 1] -> (N, D)."""
SMALL_WORLD = (3, 16, 16)


def feature_space(name: str, shape: Sequence[int], device: str) -> Features:
    """The features by name: ``attributes``, ``pixels``, ``auto`` or a folder with a CLIP model.

    Args:
        name: ``auto`` is the small world's attribute classifier for pictures of its size, else pixels.
        shape: (C, H, W) of the pictures.
        device: where the network runs.

    Raises:
        UserError: it is neither a name nor a folder.

    >>> feature_space("auto", (3, 16, 16), "cpu")(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 64])
    """
    if name == "attributes" or (name == "auto" and tuple(shape) == SMALL_WORLD):
        return load_attribute_classifier(device).features
    if name in ("auto", "pixels"):
        return lambda images: images.flatten(1)
    model = load_contrastive(_folder(name), device)
    return lambda images: torch.cat([model.embed_images(batch) for batch in images.split(64)])


def require_features(name: str) -> None:
    """Refuse features that cannot be had, before anything is computed; a folder's model is not opened.

    Raises:
        UserError, ArtifactError: as :func:`feature_space`.

    >>> require_features("auto")
    >>> require_features("nowhere")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: there are no features 'nowhere': choose auto, attributes, pixels, or a folder of ...
    """
    if name not in ("auto", "attributes", "pixels"):
        require_contrastive(_folder(name))


def _folder(name: str) -> Path:
    folder: Path | None = existing(name)
    if folder is None:
        raise UserError(f"there are no features {name!r}: choose auto, attributes, pixels, or a folder of a CLIP model")
    return folder
