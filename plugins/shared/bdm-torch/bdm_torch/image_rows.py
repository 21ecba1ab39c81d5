"""Images that are read or made a few at a time: sets of any size in the memory of some pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Read = Callable[[list[int]], Tensor]
"""read(rows): the images (len(rows), C, H, W) of these rows, float32 in [-1, 1]."""
PIXELS_AT_ONCE = 2**18
"""Height times width times images that are in memory together: one picture of 512x512, 1024 of 16x16."""


class Shape(NamedTuple):
    """(N, C, H, W) of a set of images."""

    count: int
    channels: int
    height: int
    width: int


def batch_of(shape: Sequence[int], most: int) -> int:
    """How many images of (..., H, W) are worked on at once: at most ``most``, at least one.

    >>> batch_of((3, 512, 512), most=64), batch_of((3, 16, 16), most=64)
    (1, 64)
    """
    return max(1, min(most, PIXELS_AT_ONCE // max(1, shape[-2] * shape[-1])))


class ImageRows:
    """Images (N, C, H, W), float32 in [-1, 1], that come into being when rows are asked for.

    Like a tensor of this shape it has ``shape`` and ``len``, and its rows are taken by a number, a slice, a list of
    numbers or a mask; what is taken is a tensor. ``pick`` and ``changed`` make further sets and read nothing.

    Args:
        shape: (N, C, H, W).
        read: gives the images of rows, in the order asked for.

    >>> images = ImageRows.of(torch.arange(4.0).view(4, 1, 1, 1))
    >>> images.shape[1:], len(images.pick([3, 1])), images.pick([3, 1])[:].flatten().tolist()
    ((1, 1, 1), 2, [3.0, 1.0])
    >>> images.changed(lambda batch, rows: -batch)[[2]].flatten().tolist()
    [-2.0]
    """

    def __init__(self, shape: Sequence[int], read: Read) -> None:
        self.shape = Shape(*shape)
        self._read = read

    @classmethod
    def of(cls, images: Tensor) -> ImageRows:
        """Those of a tensor (N, C, H, W)."""
        return cls(images.shape, lambda rows: images[rows])

    def __len__(self) -> int:
        return self.shape.count

    def __getitem__(self, rows: int | slice | Sequence[int] | Tensor) -> Tensor:
        if isinstance(rows, int):
            return self._read([range(len(self))[rows]])[0]
        if isinstance(rows, slice):
            chosen = list(range(len(self))[rows])
        elif isinstance(rows, Tensor):
            chosen = (rows.nonzero().flatten() if rows.dtype == torch.bool else rows).tolist()
        else:
            chosen = list(rows)
        return self._read(chosen) if chosen else torch.empty(0, *self.shape[1:])

    def __iter__(self) -> Iterator[Tensor]:
        return (self[row] for row in range(len(self)))

    def split(self, size: int) -> Iterator[Tensor]:
        """All images, ``size`` at a time."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def pick(self, rows: Sequence[int]) -> ImageRows:
        """The set of these rows, in this order; a row may come several times."""
        chosen = list(rows)
        return ImageRows((len(chosen), *self.shape[1:]), lambda wanted: self[[chosen[row] for row in wanted]])

    def changed(self, change: Callable[[Tensor, list[int]], Tensor]) -> ImageRows:
        """The set after ``change(images, rows)``, which gives as many images of the same shape."""
        return ImageRows(self.shape, lambda rows: change(self[rows], rows))

    def followed_by(self, other: ImageRows) -> ImageRows:
        """These images, then the others."""
        first = len(self)

        def read(rows: list[int]) -> Tensor:
            found = torch.empty(len(rows), *self.shape[1:])
            for own, part, start in ((True, self, 0), (False, other, first)):
                places = [place for place, row in enumerate(rows) if (row < first) is own]
                if places:
                    found[places] = part[[rows[place] - start for place in places]]
            return found

        return ImageRows((first + len(other), *self.shape[1:]), read)
