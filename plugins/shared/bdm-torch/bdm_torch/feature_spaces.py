"""Named maps from images to features, for distances between sets of images, and which images are comparable."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.files import read_json
from bdm_torch.image_rows import ImageRows, batch_of

INCEPTION = "inception"
PIXELS = "pixels"
PIXEL_SIDE = 8


@dataclass(frozen=True)
class FeatureSpace:
    """A named map from images to features.

    Attributes:
        name: becomes part of a metric's name.
        extract: takes a batch (N, C, H, W) float32 in [-1, 1], returns (N, D).
    """

    name: str
    extract: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def features(self, images: Tensor | ImageRows, batch_size: int, device: str) -> Tensor:
        """Features (N, D), float64 on the CPU, of images (N, C, H, W) in [-1, 1]; of large ones fewer at once."""
        parts = images.split(batch_of(images.shape, batch_size))
        return torch.cat([self.extract(batch.to(device)).double().cpu() for batch in parts])


def pixel_space() -> FeatureSpace:
    """The images averaged down to 8x8 pixels.

    >>> pixel_space().features(torch.zeros(2, 3, 16, 16), 64, "cpu").shape
    torch.Size([2, 192])
    """

    def extract(images: Tensor) -> Tensor:
        side = min(PIXEL_SIDE, *images.shape[2:])
        return functional.adaptive_avg_pool2d(images, side).flatten(1)

    return FeatureSpace(PIXELS, extract)


def has_inception() -> bool:
    """Whether the Inception network of the usual FID can be had."""
    return importlib.util.find_spec("torch_fidelity") is not None


def inception_space(network: nn.Module) -> FeatureSpace:
    """The network of the usual FID (Heusel et al. 2017), 2048 features.

    Args:
        network: takes uint8 images (N, 3, H, W), e.g. the ``inception`` of torchmetrics' ``FrechetInceptionDistance``.

    >>> space = inception_space(nn.Flatten())
    >>> space.features(torch.ones(2, 1, 2, 2), 64, "cpu").shape
    torch.Size([2, 12])
    """

    def extract(images: Tensor) -> Tensor:
        levels = ((images + 1) * 127.5).round().clamp(0, 255).byte()
        features: Tensor = network(levels.expand(-1, 3, -1, -1) if levels.shape[1] == 1 else levels)
        return features

    return FeatureSpace(INCEPTION, extract)


def names_heads(folder: Path) -> bool:
    """Whether a classifier in a folder is one of attributes: its configuration names heads.

    >>> names_heads(Path("nowhere"))
    False
    """
    try:
        return "heads" in read_json(folder / "config.json")
    except (OSError, ValueError, TypeError):
        return False


def comparable_rows(reference: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]]) -> list[int]:
    """The reference rows of the kind that the prompts ask for.

    Where all prompts ask for the same value of an attribute (style photo, one object), reference images of another
    value are left out: otherwise a distance would mostly say that nobody asked for these.

    Args:
        reference: rows of the reference images; ``labels`` say what they show, if anything does.
        samples: rows of the generated images; ``labels`` say what was asked for.

    Returns:
        Indices in order; all of them without labels, or if fewer than two would be left.

    >>> reference = [{"labels": {"style": style}} for style in ("photo", "blur", "photo")]
    >>> comparable_rows(reference, [{"labels": {"style": "photo", "object": "star"}}])
    [0, 2]
    """
    asked = [row.get("labels") or {} for row in samples]
    common = {
        name: value for name, value in (asked[0] if asked else {}).items() if all(x.get(name) == value for x in asked)
    }
    kept = [
        index
        for index, row in enumerate(reference)
        if all((row.get("labels") or {}).get(name, value) == value for name, value in common.items())
    ]
    return kept if len(kept) >= 2 else list(range(len(reference)))
