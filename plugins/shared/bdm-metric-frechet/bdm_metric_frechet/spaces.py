"""Feature spaces: a name and a network from images (N, C, H, W) in [-1, 1] to features (N, D)."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_torch.image_rows import ImageRows, batch_of

CLASSIFIERS = {(1, 8, 8): "digits-classifier", (3, 16, 16): "shapes-classifier"}
"""The kit's classifier for the images of its built-in data sets, by their shape (C, H, W)."""
ATTRIBUTES = "attributes"
INCEPTION = "inception"
PIXELS = "pixels"
PIXEL_SIDE = 8


@dataclass(frozen=True)
class FeatureSpace:
    """A named map from images to features.

    Attributes:
        name: becomes part of the metric's name.
        extract: takes a batch (N, C, H, W) float32 in [-1, 1], returns (N, D).
    """

    name: str
    extract: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def features(self, images: Tensor | ImageRows, batch_size: int, device: str) -> Tensor:
        """Features (N, D), float64 on the CPU, of images (N, C, H, W) in [-1, 1]; of large ones fewer at once."""
        parts = images.split(batch_of(images.shape, batch_size))
        return torch.cat([self.extract(batch.to(device)).double().cpu() for batch in parts])


def feature_space(wanted: str, shape: tuple[int, ...], device: str) -> FeatureSpace:
    """The feature space with a name, or a classifier's folder, for images of a shape (C, H, W).

    Raises:
        UserError: unknown name, an extra that is not installed, or a network for images of another shape.
    """
    if wanted == "auto":
        wanted = CLASSIFIERS.get(shape) or (INCEPTION if _has_inception() else PIXELS)
    if wanted == PIXELS:
        return FeatureSpace(PIXELS, _pixels)
    if wanted == INCEPTION:
        return _inception(device)
    if wanted == ATTRIBUTES:
        return _attributes(ATTRIBUTES, None, shape, device)
    own = existing(wanted)
    if own is not None and _has_heads(own):
        return _attributes(own.name, own, shape, device)
    if wanted in CLASSIFIERS.values() or own is not None:
        from bdm_kit_diffusion.built_in import BUILTIN
        from bdm_torch.features import load_classifier

        folder = own if own is not None and wanted not in CLASSIFIERS.values() else BUILTIN / wanted
        return FeatureSpace(folder.name, load_classifier(folder, device=device).features)
    known = ", ".join(("auto", *CLASSIFIERS.values(), ATTRIBUTES, INCEPTION, PIXELS))
    raise UserError(
        f"metric:frechet.features: no feature space {wanted!r}; it is one of {known}, or a classifier's folder"
    )


def _has_heads(folder: Path) -> bool:
    """Whether the folder's classifier is one of attributes: its configuration names heads."""
    try:
        return "heads" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _attributes(name: str, folder: Path | None, shape: tuple[int, ...], device: str) -> FeatureSpace:
    """The feature layer of the classifier of the small world; it resizes images itself."""
    try:
        from bdm_kit_text_to_image.judging.attributes import BUILTIN_ATTRIBUTES, load_attribute_classifier
    except ImportError:
        raise UserError("the feature space attributes needs the kit: pip install bdm-kit-text-to-image") from None
    if shape[0] not in (1, 3):
        raise UserError(f"metric:frechet: the attribute classifier takes grey or colour images, got shape {shape}")
    return FeatureSpace(name, load_attribute_classifier(device, folder or BUILTIN_ATTRIBUTES).features)


def _has_inception() -> bool:
    return importlib.util.find_spec("torch_fidelity") is not None


def _pixels(images: Tensor) -> Tensor:
    side = min(PIXEL_SIDE, *images.shape[2:])
    return functional.adaptive_avg_pool2d(images, side).flatten(1)


def _inception(device: str) -> FeatureSpace:
    """The network of the usual FID (Heusel et al. 2017), 2048 features."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    if not _has_inception():
        raise UserError("the Inception features need an extra: pip install 'bdm-metric-frechet[inception]'")
    network = FrechetInceptionDistance(feature=2048).inception.to(device)

    def extract(images: Tensor) -> Tensor:
        levels = ((images + 1) * 127.5).round().clamp(0, 255).byte()
        features: Tensor = network(levels.expand(-1, 3, -1, -1) if levels.shape[1] == 1 else levels)
        return features

    return FeatureSpace(INCEPTION, extract)
