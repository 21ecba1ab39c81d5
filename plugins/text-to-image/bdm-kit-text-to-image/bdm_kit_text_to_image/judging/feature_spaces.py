"""The features of a classifier of attributes as a feature space, for distances between sets of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bdm_core.errors import UserError
from bdm_kit_text_to_image.judging.attributes import BUILTIN_ATTRIBUTES, load_attribute_classifier
from bdm_torch.feature_spaces import FeatureSpace

ATTRIBUTES = "attributes"
"""The built-in one, of the small world."""


def attribute_space(shape: Sequence[int], device: str, folder: Path | None = None) -> FeatureSpace:
    """The feature layer of the built-in classifier, or of one in a folder, which names the space.

    Args:
        shape: (C, H, W) of the images; the classifier resizes them itself.
        device: where it runs.
        folder: of another classifier.

    Raises:
        UserError: the images have neither one nor three channels, or the folder holds no classifier.

    >>> space = attribute_space((3, 16, 16), "cpu")
    >>> space.name
    'attributes'
    """
    if shape[0] not in (1, 3):
        raise UserError(f"the attribute classifier takes grey or colour images, got shape {tuple(shape)}")
    classifier = load_attribute_classifier(device, folder or BUILTIN_ATTRIBUTES)
    return FeatureSpace(folder.name if folder else ATTRIBUTES, classifier.features)
