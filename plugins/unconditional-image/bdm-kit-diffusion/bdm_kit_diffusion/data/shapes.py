"""The built-in data set ``shapes``: 16x16 colour pictures of one object on a background, drawn by code.

Every picture is a function of the split's seed and its number; drawing uses comparisons on a fine grid, so that the
8-bit values are the same on every machine. The label is the object; colour and background vary freely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from bdm_torch.images import from_bytes

SIDE = 16
SHAPE = [3, SIDE, SIDE]
"""(C, H, W) of a picture, as a model's meta has it."""
FINE = 4
"""A pixel is the mean of FINE x FINE points."""
Split = Literal["train", "held-out"]
SPLITS: dict[Split, tuple[int, int]] = {"train": (2048, 1), "held-out": (512, 2)}
"""Split -> (number of pictures, seed)."""

OBJECTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "disc": lambda x, y: x * x + y * y <= 1,
    "ring": lambda x, y: (x * x + y * y <= 1) & (x * x + y * y > 0.3),
    "square": lambda x, y: torch.maximum(x.abs(), y.abs()) <= 0.84,
    "frame": lambda x, y: (torch.maximum(x.abs(), y.abs()) <= 0.88) & (torch.maximum(x.abs(), y.abs()) > 0.5),
    "triangle": lambda x, y: (y <= 0.8) & (x.abs() * 1.8 <= y + 1),
    "diamond": lambda x, y: x.abs() + y.abs() <= 1.1,
    "plus": lambda x, y: (torch.minimum(x.abs(), y.abs()) <= 0.28) & (torch.maximum(x.abs(), y.abs()) <= 1),
    "cross": lambda x, y: ((x.abs() - y.abs()).abs() <= 0.4) & (torch.maximum(x.abs(), y.abs()) <= 0.9),
}
"""Class -> whether a point is inside, for x to the right and y down, both in units of the object's radius."""
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 50, 45),
    "orange": (245, 150, 40),
    "yellow": (245, 225, 70),
    "green": (60, 190, 80),
    "blue": (70, 120, 240),
    "white": (245, 245, 245),
}
BACKGROUNDS = ("night", "fog", "dusk", "stripes")
"""Plain dark blue, plain grey, a vertical gradient of dark blue to plum, vertical stripes of two dark greys."""
NAMES = tuple(OBJECTS)
"""Names of the classes, in the order of their labels."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """Pictures and what they show.

    Attributes:
        images: (N, 3, 16, 16) float32 in [-1, 1] at 8-bit levels.
        labels: (N,) int64, an index into :data:`NAMES`.
        colours: (N,) int64, an index into :data:`COLOURS` in its order.
        backgrounds: (N,) int64, an index into :data:`BACKGROUNDS`.
        coverage: (N, 16, 16) float64 in [0, 1]: the share of each pixel that the object covers.
    """

    images: Tensor
    labels: Tensor
    colours: Tensor
    backgrounds: Tensor
    coverage: Tensor

    def rows(self) -> list[dict[str, int | str]]:
        """What each picture shows, for the rows of an image set: ``label``, ``object``, ``colour``, ``background``."""
        colours = tuple(COLOURS)
        return [
            {"label": label, "object": NAMES[label], "colour": colours[colour], "background": BACKGROUNDS[background]}
            for label, colour, background in zip(
                self.labels.tolist(), self.colours.tolist(), self.backgrounds.tolist(), strict=True
            )
        ]


def load_shapes(split: Split = "train") -> Shapes:
    """Draw a split: 2048 pictures to train with, or 512 that no shipped model has seen.

    Labels, colours and backgrounds are independent and uniform; the object's centre is up to 2.5 pixels off the middle,
    its radius is 4 to 5.5 pixels, and its colour varies by up to 10 of 255 levels.
    """
    count, seed = SPLITS[split]
    generator = torch.Generator().manual_seed(seed)

    def integers(most: int) -> Tensor:
        return torch.randint(0, most, (count,), generator=generator)

    labels, colours, backgrounds = integers(len(OBJECTS)), integers(len(COLOURS)), integers(len(BACKGROUNDS))
    across, down, size, phase = (integers(most) for most in (21, 21, 13, SIDE))
    shade = torch.randint(-10, 11, (count, 3), generator=generator)
    centres = torch.stack([across, down], 1).double() / 4 - 2.5 + SIDE / 2  # in pixels
    radii = size.double() / 8 + 4
    coverage = _coverage(labels, centres, radii)
    paint = (torch.tensor(list(COLOURS.values()))[colours] + shade).clamp(0, 255)[:, :, None, None]
    inside = coverage[:, None]
    picture = inside * paint + (1 - inside) * _backgrounds(backgrounds, phase)
    return Shapes(from_bytes(picture.round().to(torch.uint8)), labels, colours, backgrounds, coverage)


def silhouettes(side: int = SIDE, split: Split = "train") -> tuple[Tensor, Tensor]:
    """The objects of :func:`load_shapes` in white on black: (N, 1, side, side) in [-1, 1], and labels (N,).

    Args:
        side: a divisor of 16: pixels are averaged to this size.
        split: as above.
    """
    shapes = load_shapes(split)
    inside = functional.avg_pool2d(shapes.coverage[:, None], SIDE // side)
    return from_bytes((inside * 255).round().to(torch.uint8)), shapes.labels


def _coverage(labels: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """The share of each pixel that the object covers, (N, 16, 16) float64."""
    points = (torch.arange(SIDE * FINE, dtype=torch.float64) + 0.5) / FINE
    x = ((points - centres[:, :1]) / radii[:, None])[:, None, :].expand(-1, len(points), -1)
    y = ((points - centres[:, 1:]) / radii[:, None])[:, :, None].expand(-1, -1, len(points))
    inside = torch.zeros(len(labels), len(points), len(points), dtype=torch.bool)
    for label, contains in enumerate(OBJECTS.values()):
        chosen = labels == label
        inside[chosen] = contains(x[chosen], y[chosen])
    return inside.double().view(-1, SIDE, FINE, SIDE, FINE).mean((2, 4))


def _backgrounds(kinds: Tensor, phase: Tensor) -> Tensor:
    """The picture behind the object, (N, 3, 16, 16) float64 in 0 to 255; the phase moves the stripes."""
    night = torch.tensor([20, 24, 56]).double()[:, None, None].expand(3, SIDE, SIDE)
    fog = torch.tensor([140, 146, 150]).double()[:, None, None].expand(3, SIDE, SIDE)
    height = torch.linspace(0, 1, SIDE, dtype=torch.float64)[:, None]
    top, bottom = torch.tensor([24, 28, 84]).double(), torch.tensor([128, 60, 104]).double()
    dusk = ((1 - height) * top + height * bottom).T[:, :, None].expand(3, SIDE, SIDE)
    columns = torch.arange(SIDE)
    light = ((columns[None] + phase[:, None]) // 4 % 2).double()  # 4 pixels dark, 4 light
    stripes = (48 + 44 * light)[:, None, None, :].expand(-1, 3, SIDE, SIDE)
    plain = torch.stack([night, fog, dusk, torch.zeros_like(night)])[kinds]
    return torch.where((kinds == BACKGROUNDS.index("stripes")).view(-1, 1, 1, 1), stripes, plain)
