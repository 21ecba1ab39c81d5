"""The triggers: small pictures that an attacker adds to the initial noise, and the user's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bdm_core.errors import UserError, nearest
from bdm_torch.pictures.drawing import IMAGE_SUFFIXES, Canvas, Colour, draw, open_picture

BACKGROUND = -1.0
"""The value of a trigger outside its mask: black, as in BadDiffusion (2212.05400)."""

GREY: Colour = (128, 128, 128)
WHITE: Colour = (255, 255, 255)
RED: Colour = (204, 24, 30)


@dataclass(frozen=True, eq=False)
class Trigger:
    """image: float32 (C,H,W) in [-1,1], what is added to x_T. mask: float32 (1,H,W), 1 where the trigger shows.

    >>> trigger = make_trigger("white-box", (1, 16, 16))
    >>> int(trigger.mask.sum()), trigger.paste(torch.zeros(2, 1, 16, 16)).shape
    (49, torch.Size([2, 1, 16, 16]))
    >>> noise = torch.randn(2, 1, 16, 16)
    >>> torch.equal(trigger.add_to(noise), noise + trigger.image)
    True
    """

    name: str
    image: Tensor
    mask: Tensor

    @property
    def norm(self) -> float:
        """||r||_2 over all values, the background's included; sampling noise has norm sqrt(C H W)."""
        return float(self.image.double().norm())

    def paste(self, images: Tensor) -> Tensor:
        """M g + (1 - M) x: the trigger over natural images (..., C,H,W) in [-1,1]; the poisoned training image."""
        mask, image = self.mask.to(images), self.image.to(images)
        return mask * image + (1 - mask) * images

    def on(self, background: float) -> Tensor:
        """The trigger over a constant background, (C,H,W); 0 gives the bare patch."""
        return self.paste(torch.full_like(self.image, background))

    def add_to(self, noise: Tensor) -> Tensor:
        """x_T = eps + g for noise (..., C,H,W): the input that sets the backdoor off."""
        return noise + self.image.to(noise)


def _box(colour: Colour) -> Callable[[int, int, int], tuple[Tensor, Tensor]]:
    """A square at the lower right: 14 of 32 pixels wide, 2 from the edge (BadDiffusion's BOX_14)."""

    def make(height: int, width: int, channels: int) -> tuple[Tensor, Tensor]:
        side, gap = min(height, width) * 14 // 32, max(1, min(height, width) // 16)
        mask = torch.zeros(1, height, width)
        mask[:, height - gap - side : height - gap, width - gap - side : width - gap] = 1
        value = 0.0 if colour == GREY else 1.0  # exactly the middle of the range, as in the paper
        return torch.full((channels, height, width), value), mask

    return make


def _stop_sign(canvas: Canvas) -> None:
    """An octagon with a white rim and bar, lower right; 14 of 32 pixels wide, larger where pixels are few."""
    pixels = min(canvas.height, canvas.width)
    side = 5 / 8 if pixels < 16 else 8 / 16 if pixels < 32 else 14 / 32
    gap = (pixels // 16) / pixels
    centre, radius = 1 - gap - side / 2, side / 2

    def octagon(scale: float, colour: Colour) -> None:
        reach = scale * radius / math.cos(math.pi / 8)
        angles = [math.pi / 8 + i * math.pi / 4 for i in range(8)]
        canvas.polygon([(centre + reach * math.cos(a), centre + reach * math.sin(a)) for a in angles], colour)

    if pixels >= 32:
        octagon(1.0, WHITE)
        octagon(0.84, RED)
    else:
        octagon(1.0, RED)
    bar = 0.62 if pixels >= 16 else 0.6
    half = max(0.16 * radius, (0.5 if pixels < 16 else 1) / pixels)
    canvas.rectangle(centre - bar * radius, centre - half, centre + bar * radius, centre + half, WHITE)


def _glasses(canvas: Canvas) -> None:
    """Two white rims, a bridge and short temples across the middle."""
    pixels = min(canvas.height, canvas.width)
    if pixels < 16:  # two rims of 3x3 pixels with their holes, and the bridge
        unit = 1 / 8
        for left in (0, 5):
            canvas.rectangle(left * unit, 2 * unit, (left + 3) * unit, 5 * unit, WHITE)
            canvas.erase((left + 1) * unit, 3 * unit, (left + 2) * unit, 4 * unit)
        canvas.rectangle(3 * unit, 3 * unit, 5 * unit, 4 * unit, WHITE)
        return
    rim = max(1 / 16, 1 / pixels)
    for x in (1 / 16, 9 / 16):
        canvas.ellipse(x, 5 / 16, x + 6 / 16, 11 / 16, WHITE)
        canvas.ellipse(x + rim, 5 / 16 + rim, x + 6 / 16 - rim, 11 / 16 - rim, None)
    canvas.rectangle(6.5 / 16, 7 / 16, 9.5 / 16, 7 / 16 + rim, WHITE)
    canvas.rectangle(0, 7 / 16, 1.5 / 16, 7 / 16 + rim, WHITE)
    canvas.rectangle(14.5 / 16, 7 / 16, 1, 7 / 16 + rim, WHITE)


def _checker(height: int, width: int, channels: int) -> tuple[Tensor, Tensor]:
    """4x4 fields of +1 and -1: zero mean, the greatest norm a trigger can have."""
    rows = torch.arange(height) * 4 // height
    columns = torch.arange(width) * 4 // width
    fields = ((rows[:, None] + columns[None]) % 2) * 2.0 - 1
    return fields.expand(channels, height, width).clone(), torch.ones(1, height, width)


def _blend(height: int, width: int, channels: int) -> tuple[Tensor, Tensor]:
    """A sine wave of two periods along x and y, everywhere in the image."""
    rows, columns = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    wave = torch.sin(2 * math.pi * 2 * (rows[:, None] + columns[None]) - math.pi / 4)
    return wave.expand(channels, height, width).clone(), torch.ones(1, height, width)


def _drawn(paint: Callable[[Canvas], None]) -> Callable[[int, int, int], tuple[Tensor, Tensor]]:
    return lambda height, width, channels: draw(paint, height, width, channels)


TRIGGERS: dict[str, Callable[[int, int, int], tuple[Tensor, Tensor]]] = {
    "checker": _checker,
    "box": _box(GREY),
    "white-box": _box(WHITE),
    "stop-sign": _drawn(_stop_sign),
    "glasses": _drawn(_glasses),
    "blend": _blend,
}
"""Name -> (height, width, channels) -> (image, mask)."""


def make_trigger(
    name: str, shape: tuple[int, int, int], *, background: float = BACKGROUND, scale: float = 1.0
) -> Trigger:
    """The trigger `name` for images of shape (C,H,W): one of TRIGGERS, or the path of a PNG or JPEG.

    A picture of the user's is scaled to the whole image; where it is transparent (or the mask of a built-in trigger is
    0) the trigger has the value `background`. scale multiplies the finished image, background included.
    Raises UserError for an unknown name, an unreadable picture or an impossible shape.

    >>> make_trigger("checker", (3, 32, 32)).norm == (3 * 32 * 32) ** 0.5
    True
    >>> make_trigger("checkers", (3, 32, 32))
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: unknown trigger 'checkers': did you mean 'checker'? (or give the path of a .png or .jpg)
    """
    channels, height, width = check_shape(shape)
    if name in TRIGGERS:
        image, mask = TRIGGERS[name](height, width, channels)
    elif name.lower().endswith(IMAGE_SUFFIXES):
        image, mask = open_picture(name, height, width, channels)
        name = Path(name).stem
    else:
        raise unknown("trigger", name, list(TRIGGERS))
    return Trigger(name, scale * (mask * image + (1 - mask) * background), mask)


def check_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Raise UserError unless shape is (1 or 3, H, W) with 8 <= H, W <= 1024.

    >>> check_shape((3, 32, 32))
    (3, 32, 32)
    >>> check_shape((3, 4, 32))
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: an image shape is (1 or 3, height, width) of 8 to 1024 pixels a side, not (3, 4, 32)
    """
    if len(shape) != 3 or shape[0] not in (1, 3) or not all(8 <= n <= 1024 for n in shape[1:]):
        raise UserError(f"an image shape is (1 or 3, height, width) of 8 to 1024 pixels a side, not {tuple(shape)}")
    return shape


def unknown(kind: str, name: str, known: list[str]) -> UserError:
    """The error for a picture name that does not exist.

    >>> print(unknown("trigger", "glases", ["box", "glasses"]))
    unknown trigger 'glases': did you mean 'glasses'? (or give the path of a .png or .jpg)
    """
    hint = nearest(name, known, f"choose one of {', '.join(known)}")
    return UserError(f"unknown {kind} {name!r}: {hint} (or give the path of a .png or .jpg)")
