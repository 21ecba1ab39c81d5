"""Small pictures by code, and pictures of the user's from a file, as an image and a mask.

A drawing lives on the unit square (x to the right, y down) and is rasterised at any size by supersampling.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from bdm_core.errors import UserError
from bdm_core.files import existing

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_FILE_BYTES = 20 * 2**20
MAX_PIXELS = 4096 * 4096
_LUMINANCE = (0.299, 0.587, 0.114)


class Canvas:
    """A transparent square that shapes are painted on, supersampled; then `render`."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.factor = max(2, 512 // max(height, width))
        self.image = Image.new("RGBA", (width * self.factor, height * self.factor), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)

    def _points(self, points: Points) -> Points:
        w, h = self.image.size
        return [(x * w, y * h) for x, y in points]

    def _corners(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        w, h = self.image.size
        return x0 * w, y0 * h, x1 * w - 1, y1 * h - 1

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self.draw.rectangle(self._corners(x0, y0, x1, y1), fill=(*colour, 255))

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, colour: Colour | None) -> None:
        """colour None cuts a hole."""
        self.draw.ellipse(self._corners(x0, y0, x1, y1), fill=(0, 0, 0, 0) if colour is None else (*colour, 255))

    def erase(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self.draw.rectangle(self._corners(x0, y0, x1, y1), fill=(0, 0, 0, 0))

    def polygon(self, points: Points, colour: Colour) -> None:
        self.draw.polygon(self._points(points), fill=(*colour, 255))

    def line(self, points: Points, colour: Colour, width: float) -> None:
        pixels = max(1, round(width * min(self.image.size)))
        self.draw.line(self._points(points), fill=(*colour, 255), width=pixels, joint="curve")

    def render(self, channels: int) -> tuple[Tensor, Tensor]:
        """(colour (channels,H,W) in [-1,1], mask (1,H,W) of 0 and 1)."""
        return _split(np.asarray(self.image), self.height, self.width, channels)


def draw(paint: Callable[[Canvas], None], height: int, width: int, channels: int) -> tuple[Tensor, Tensor]:
    """Rasterise a drawing; see Canvas.render.

    >>> image, mask = draw(lambda canvas: canvas.rectangle(0, 0, 0.5, 1, (255, 255, 255)), 8, 8, 1)
    >>> image.shape, mask.shape, mask[0, 0].tolist()
    (torch.Size([1, 8, 8]), torch.Size([1, 8, 8]), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    """
    canvas = Canvas(height, width)
    paint(canvas)
    return canvas.render(channels)


def open_picture(path: str | Path, height: int, width: int, channels: int) -> tuple[Tensor, Tensor]:
    """A PNG or JPEG scaled to the given size: (colour (channels,H,W) in [-1,1], mask (1,H,W) of 0 and 1).

    The mask is where alpha is at least one half; a picture without alpha covers everything. Raises UserError for a file
    that is missing, too big (20 MiB, 4096x4096 pixels), damaged or of another format.

    >>> Image.new("RGB", (32, 32), "white").save("white.png")
    >>> image, mask = open_picture("white.png", 8, 8, 3)
    >>> image.shape, float(image.min()), float(mask.min())
    (torch.Size([3, 8, 8]), 1.0, 1.0)
    >>> open_picture("nowhere.png", 8, 8, 3)
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: no such picture: nowhere.png
    """
    wanted, path = path, existing(path)
    if path is None or not path.is_file():
        raise UserError(f"no such picture: {wanted}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"the picture {path} is bigger than {MAX_FILE_BYTES // 2**20} MiB: make it smaller")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UserError(f"the picture {path} has {picture.width}x{picture.height} pixels: at most 4096x4096")
            pixels = np.asarray(picture.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read {path} as a PNG or JPEG picture: {error}") from None
    return _split(pixels, height, width, channels)


def _split(rgba: np.ndarray, height: int, width: int, channels: int) -> tuple[Tensor, Tensor]:
    if channels not in (1, 3):
        raise UserError(f"pictures have 1 or 3 channels, not {channels}")
    alpha = rgba[..., 3:].astype(np.float32) / 255
    layers = np.concatenate([rgba[..., :3].astype(np.float32) / 255 * alpha, alpha], axis=2)  # premultiplied
    small = np.stack([_resize(layers[..., i], height, width) for i in range(4)])
    mask = (small[3:] >= 0.5).astype(np.float32)
    colour = np.clip(small[:3] / np.maximum(small[3:], 1e-3), 0, 1)
    if channels == 1:
        colour = np.tensordot(np.array(_LUMINANCE, dtype=np.float32), colour, axes=1)[None]
    return torch.from_numpy(colour.astype(np.float32) * 2 - 1), torch.from_numpy(mask)


def _resize(layer: np.ndarray, height: int, width: int) -> np.ndarray:
    resized: np.ndarray = np.asarray(Image.fromarray(layer).resize((width, height), Image.Resampling.BOX))
    return resized
