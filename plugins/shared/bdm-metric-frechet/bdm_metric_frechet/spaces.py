"""The feature space that the parameters name: a map from images (N, C, H, W) in [-1, 1] to features (N, D)."""

from __future__ import annotations

from pathlib import Path

from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_torch.feature_spaces import (
    INCEPTION,
    PIXELS,
    FeatureSpace,
    has_inception,
    inception_space,
    names_heads,
    pixel_space,
)

CLASSIFIERS = {(1, 8, 8): "digits-classifier", (3, 16, 16): "shapes-classifier"}
"""The kit's classifier for the images of its built-in data sets, by their shape (C, H, W)."""
ATTRIBUTES = "attributes"


def feature_space(wanted: str, shape: tuple[int, ...], device: str) -> FeatureSpace:
    """The feature space with a name, or a classifier's folder, for images of a shape (C, H, W).

    Raises:
        UserError: unknown name, an extra that is not installed, or a network for images of another shape.
    """
    if wanted == "auto":
        wanted = CLASSIFIERS.get(shape) or (INCEPTION if has_inception() else PIXELS)
    if wanted == PIXELS:
        return pixel_space()
    if wanted == INCEPTION:
        return _inception(device)
    own = None if wanted == ATTRIBUTES else existing(wanted)
    if wanted == ATTRIBUTES or (own is not None and names_heads(own)):
        return _attributes(shape, device, own)
    if wanted in CLASSIFIERS.values() or own is not None:
        from bdm_kit_diffusion.built_in import BUILTIN
        from bdm_torch.features import load_classifier

        folder = own if own is not None and wanted not in CLASSIFIERS.values() else BUILTIN / wanted
        return FeatureSpace(folder.name, load_classifier(folder, device=device).features)
    known = ", ".join(("auto", *CLASSIFIERS.values(), ATTRIBUTES, INCEPTION, PIXELS))
    raise UserError(
        f"metric:frechet.features: no feature space {wanted!r}; it is one of {known}, or a classifier's folder"
    )


def require_space(wanted: str) -> None:
    """Refuse a feature space that cannot be had, before anything is computed. The Inception network is not opened.

    Raises:
        UserError, ArtifactError: as :func:`feature_space`.

    >>> require_space("nowhere")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: metric:frechet.features: no feature space 'nowhere'; it is one of auto, ...
    """
    if wanted == INCEPTION:
        _require_inception()
    elif wanted != "auto":
        feature_space(wanted, (3, 16, 16), "cpu")


def _require_inception() -> None:
    if not has_inception():
        raise UserError("the Inception features need an extra: pip install 'bdm-metric-frechet[inception]'")


def _attributes(shape: tuple[int, ...], device: str, folder: Path | None) -> FeatureSpace:
    try:
        from bdm_kit_text_to_image.judging.feature_spaces import attribute_space
    except ImportError:
        raise UserError("the feature space attributes needs the kit: pip install bdm-kit-text-to-image") from None
    return attribute_space(shape, device, folder)


def _inception(device: str) -> FeatureSpace:
    _require_inception()
    from torchmetrics.image.fid import FrechetInceptionDistance

    return inception_space(FrechetInceptionDistance(feature=2048).inception.to(device))
