"""PNG files as data URIs: one picture, a grid stitched to one PNG, pictures with a label each."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_cli.html.markup import Html, tag

if TYPE_CHECKING:
    from PIL.Image import Image

GAP = 1
GREY = 128
COUNT_LIMIT = 64
"""More pictures than this in one figure are not shown."""
_PIXEL_LIMIT = 4_000_000


def grid(paths: Sequence[Path], alt: str, *, columns: int = 8, cell: int = 48) -> Html | None:
    """Pictures side by side in one PNG, enlarged without smoothing; None if there are none to show.

    Args:
        paths: PNG files of equal size.
        alt: alternative text.
        columns: pictures in a row.
        cell: about how wide one picture is on the page, in CSS pixels.
    """
    images = [image for image in map(_load, paths) if image is not None]
    if not images:
        return None
    width, height = images[0].size
    inner = max(1, round(24 / width))  # thin gaps beside tiny pictures
    if width > cell * 2:
        width, height, inner = cell * 2, max(1, round(height * cell * 2 / width)), 1
    step_x, step_y = width * inner + GAP, height * inner + GAP
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    mode = "L" if all(image.mode == "L" for image in images) else "RGB"
    from PIL import Image as pillow

    sheet = pillow.new(mode, (columns * step_x - GAP, rows * step_y - GAP), GREY if mode == "L" else (GREY,) * 3)
    for index, image in enumerate(images):
        enlarged = _resized(image.convert(mode), width * inner, height * inner)
        sheet.paste(enlarged, (index % columns * step_x, index // columns * step_y))
    return _element(sheet, alt, max(1, round(cell / (width * inner))))


def single(path: Path, alt: str, *, width: int = 96) -> Html | None:
    """One PNG file, enlarged without smoothing or reduced to twice the width; None if it cannot be read."""
    image = _load(path)
    return element(image, alt, width=width) if image is not None else None


def labelled(paths: Sequence[Path], labels: Sequence[str], alt: str) -> Html | None:
    """Pictures in a flow, each above its label; None if none can be read.

    Args:
        paths: PNG files of equal size.
        labels: a word or two for each; missing ones are left out.
        alt: alternative text; a number and the label are added.
    """
    cells = []
    for index, path in enumerate(paths):
        label = labels[index] if index < len(labels) else ""
        picture = single(path, f"{alt}, {index + 1}" + (f": {label}" if label else ""), width=72)
        if picture is not None:
            cells.append(tag("li", picture, tag("span", label)))
    return tag("ul", cells, class_="labelled") if cells else None


def element(image: Image, alt: str, *, width: int) -> Html:
    """A picture about so many CSS pixels wide; a large one is reduced to twice that."""
    if image.width > 2 * width:
        image = _resized(image, 2 * width, max(1, round(image.height * 2 * width / image.width)))
    return _element(image, alt, max(1, round(width / image.width)))


def _resized(image: Image, width: int, height: int) -> Image:
    from PIL import Image as pillow

    filtering = pillow.Resampling.NEAREST if width >= image.width else pillow.Resampling.BOX
    return image.resize((width, height), filtering)


def decoded(content: bytes) -> Image | None:
    """The picture of a PNG file's bytes; None if it is none, or too large."""
    return _load(io.BytesIO(content))


def _load(source: Path | io.BytesIO) -> Image | None:
    try:
        from PIL import Image as pillow
    except ImportError:
        return None
    try:
        with pillow.open(source, formats=["PNG"]) as image:
            if image.width * image.height <= _PIXEL_LIMIT:
                return image.convert("L" if image.mode in ("1", "L") else "RGB")
    except (OSError, ValueError, SyntaxError):
        pass  # no picture
    return None


def _element(image: Image, alt: str, factor: int) -> Html:
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    return tag("img", src=uri, alt=alt, width=image.width * factor, height=image.height * factor, class_="pixels")
