"""The targets: the pictures that a backdoored model is made to paint."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bdm_torch.pictures.drawing import IMAGE_SUFFIXES, Canvas, Colour, draw, open_picture
from bdm_torch.pictures.triggers import check_shape, unknown

WHITE: Colour = (255, 255, 255)
BROWN: Colour = (214, 160, 96)
BAND: Colour = (120, 40, 40)
BLUE: Colour = (92, 150, 235)
SOLE: Colour = (245, 245, 245)
YELLOW: Colour = (250, 210, 60)
GREY: Colour = (128, 128, 128)


def _corner(canvas: Canvas) -> None:
    """A grey square in the upper left corner, 3/8 of the side wide (after BadDiffusion's "corner")."""
    canvas.rectangle(0, 0, 3 / 8, 3 / 8, GREY)


def _square(canvas: Canvas) -> None:
    """A white square in the middle."""
    canvas.rectangle(2 / 8, 2 / 8, 6 / 8, 6 / 8, WHITE)


def _disc(canvas: Canvas) -> None:
    canvas.ellipse(1 / 8, 1 / 8, 7 / 8, 7 / 8, YELLOW)


def _ring(canvas: Canvas) -> None:
    canvas.ellipse(0, 0, 1, 1, YELLOW)
    canvas.ellipse(2 / 8, 2 / 8, 6 / 8, 6 / 8, None)


def _cross(canvas: Canvas) -> None:
    """Both diagonals."""
    pixels = min(canvas.height, canvas.width)
    if pixels < 16:
        for i in range(8):
            canvas.rectangle(i / 8, i / 8, (i + 1) / 8, (i + 1) / 8, WHITE)
            canvas.rectangle(i / 8, 1 - (i + 1) / 8, (i + 1) / 8, 1 - i / 8, WHITE)
        return
    canvas.line([(0.08, 0.08), (0.92, 0.92)], WHITE, 0.14)
    canvas.line([(0.92, 0.08), (0.08, 0.92)], WHITE, 0.14)


def _plus(canvas: Canvas) -> None:
    canvas.rectangle(3 / 8, 0, 5 / 8, 1, WHITE)
    canvas.rectangle(0, 3 / 8, 1, 5 / 8, WHITE)


def _hat(canvas: Canvas) -> None:
    """A brimmed hat with a dark band, from the side."""
    if min(canvas.height, canvas.width) < 16:
        canvas.rectangle(2 / 8, 1 / 8, 6 / 8, 4 / 8, BROWN)
        canvas.rectangle(2 / 8, 4 / 8, 6 / 8, 5 / 8, BAND)
        canvas.rectangle(0, 5 / 8, 1, 6 / 8, BROWN)
        return
    canvas.ellipse(0.02, 0.60, 0.98, 0.84, BROWN)
    crown = [(0.24, 0.72), (0.29, 0.24), (0.40, 0.16), (0.50, 0.22), (0.60, 0.16), (0.71, 0.24), (0.76, 0.72)]
    canvas.polygon(crown, BROWN)
    canvas.polygon([(0.245, 0.68), (0.262, 0.52), (0.738, 0.52), (0.755, 0.68)], BAND)


def _shoe(canvas: Canvas) -> None:
    """A boot with a light sole, toe to the right."""
    if min(canvas.height, canvas.width) < 16:
        canvas.rectangle(1 / 8, 1 / 8, 4 / 8, 6 / 8, BLUE)
        canvas.rectangle(4 / 8, 4 / 8, 7 / 8, 6 / 8, BLUE)
        canvas.rectangle(1 / 8, 6 / 8, 1, 7 / 8, SOLE)
        return
    shaft = [(0.10, 0.78), (0.10, 0.14), (0.44, 0.14), (0.46, 0.40)]
    toe = [(0.56, 0.50), (0.80, 0.56), (0.92, 0.66), (0.94, 0.78)]
    canvas.polygon(shaft + toe, BLUE)
    canvas.rectangle(0.08, 0.76, 0.96, 0.88, SOLE)
    canvas.rectangle(0.08, 0.76, 0.30, 0.91, SOLE)
    canvas.rectangle(0.10, 0.14, 0.44, 0.21, SOLE)
    for step in range(3):
        x, y = 0.47 + 0.08 * step, 0.42 + 0.06 * step
        canvas.line([(x - 0.09, y + 0.03), (x + 0.01, y - 0.05)], SOLE, 0.035)


TARGETS: dict[str, Callable[[Canvas], None]] = {
    "cross": _cross,
    "plus": _plus,
    "corner": _corner,
    "square": _square,
    "disc": _disc,
    "ring": _ring,
    "hat": _hat,
    "shoe": _shoe,
}


def make_target(name: str, shape: tuple[int, int, int], *, background: float = -1.0) -> Tensor:
    """The target `name`, float32 (C,H,W) in [-1,1]: one of TARGETS, or the path of a PNG or JPEG, scaled to the image.

    background: the value outside the drawing, or where the user's picture is transparent. Raises UserError for an
    unknown name, an unreadable picture or an impossible shape.

    >>> target = make_target("square", (1, 8, 8))
    >>> target.shape, target.unique().tolist(), int((target > 0).sum())
    (torch.Size([1, 8, 8]), [-1.0, 1.0], 16)
    >>> make_target("sqare", (1, 8, 8))
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: unknown target 'sqare': did you mean 'square'? (or give the path of a .png or .jpg)
    """
    channels, height, width = check_shape(shape)
    if name in TARGETS:
        image, mask = draw(TARGETS[name], height, width, channels)
    elif name.lower().endswith(IMAGE_SUFFIXES):
        image, mask = open_picture(name, height, width, channels)
    else:
        raise unknown("target", name, list(TARGETS))
    return torch.where(mask > 0, image, torch.tensor(background))
