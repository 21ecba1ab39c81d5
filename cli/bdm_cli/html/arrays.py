"""Signed tensors drawn on one scale, and how alike two of them are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bdm_cli.html import numbers, pictures
from bdm_cli.html.markup import Child, Html, tag
from bdm_core.figures import Arrays


@dataclass(frozen=True)
class Tensor:
    """Values in row-major order with their name and their shape (C, H, W)."""

    name: str
    shape: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def norm(self) -> float:
        """Euclidean norm."""
        return math.sqrt(math.fsum(value * value for value in self.values))

    @property
    def whole(self) -> bool:
        """Whether there are as many values as the shape says."""
        return len(self.values) == math.prod(self.shape)


def tensors_of(figure: Arrays) -> list[Tensor]:
    """The arrays of a figure, in their order."""
    return [Tensor(name, figure.shape, tuple(values)) for name, values in figure.values.items()]


def cosine(first: Tensor, second: Tensor) -> float | None:
    """Cosine similarity in [-1, 1]; None if the shapes differ or one is zero."""
    scale = first.norm * second.norm
    if first.shape != second.shape or not scale:
        return None
    return math.fsum(a * b for a, b in zip(first.values, second.values, strict=True)) / scale


def draw(tensors: Sequence[Tensor], alt: str) -> Html:
    """Tensors beside each other on one scale, each with its norm; one that is not whole is named and left out."""
    whole = [tensor for tensor in tensors if tensor.whole]
    limit = max((abs(value) for tensor in whole for value in tensor.values), default=0.0)
    figures = [_figure(tensor, alt, limit) for tensor in whole]
    broken = [tensor.name for tensor in tensors if not tensor.whole]
    black, white = f"−{numbers.number(limit)}", numbers.number(limit)
    return tag(
        "div",
        tag("div", figures, class_="arrays"),
        tag("p", f"Black is {black}, mid-grey 0, white {white}.", class_="note") if limit else None,
        tag("p", f"Values and shape do not fit: {', '.join(broken)}.", class_="note") if broken else None,
    )


def comparison(true: Tensor, found: Iterable[Tensor]) -> list[Html]:
    """One sentence for each found tensor: its cosine with the true one, and the ratio of their norms."""
    return [tag("p", _compared(true, tensor)) for tensor in found if tensor.whole and true.whole]


def signed(tensor: Tensor, alt: str, limit: float, *, width: int = 144) -> Html | None:
    """A tensor (C, H, W) with C in {1, 3} as a picture: -limit is black, 0 mid-grey, +limit white."""
    if len(tensor.shape) != 3 or tensor.shape[0] not in (1, 3) or not tensor.values or limit <= 0:
        return None
    try:
        from PIL import Image as pillow
    except ImportError:
        return None
    channels, height, columns = tensor.shape
    levels = [min(255, max(0, round(127.5 + 127.5 * value / limit))) for value in tensor.values]
    area = height * columns
    raw = bytes(levels[channel * area + pixel] for pixel in range(area) for channel in range(channels))
    image = pillow.frombytes("L" if channels == 1 else "RGB", (columns, height), raw)
    return pictures.element(image, alt, width=width)


def _figure(tensor: Tensor, alt: str, limit: float) -> Html:
    norm = f"norm {numbers.number(tensor.norm)}"
    picture = signed(tensor, f"{alt}: {tensor.name}, signed values", limit)
    return tag("figure", picture, tag("figcaption", tag("b", tensor.name), tag("br"), norm))


def _compared(true: Tensor, found: Tensor) -> Child:
    similarity = cosine(true, found)
    if similarity is None:
        return f"{true.name} and {found.name} cannot be compared: they differ in shape, or one is zero."
    ratio = found.norm / true.norm
    return [
        f"{true.name} and {found.name}: cosine similarity ",
        tag("b", numbers.fixed(similarity, 3)),
        f", norm ratio {numbers.number(ratio)}.",
    ]
