"""PNG files of artifacts as data URIs: single pictures, grids stitched to one PNG, signed tensors."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_cli.html.markup import Html, tag
from bdm_cli.html.tensors import Tensor
from bdm_core.artifacts import Artifact

if TYPE_CHECKING:
    from PIL.Image import Image

GAP = 1
GREY = 128
_PIXEL_LIMIT = 4_000_000


def pictures(artifact: Artifact, folder: str, count: int) -> list[Path]:
    """The first PNG files in a folder of an artifact, by name."""
    names = sorted(name for name in artifact.files if name.startswith(f"{folder}/") and name.lower().endswith(".png"))
    return [artifact.file(name) for name in names[:count]]


def grid(paths: Sequence[Path], alt: str, *, columns: int = 8, cell: int = 48) -> Html | None:
    """Pictures side by side in one PNG, enlarged without smoothing; None if there are none to show.

    Args:
        paths: PNG files of equal size.
        alt: alternative text.
        columns: pictures in a row.
        cell: about how wide one picture is on the page, in CSS pixels.
    """
    images = _load(paths)
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
        filtering = pillow.Resampling.NEAREST if width * inner >= image.width else pillow.Resampling.BOX
        enlarged = image.convert(mode).resize((width * inner, height * inner), filtering)
        sheet.paste(enlarged, (index % columns * step_x, index // columns * step_y))
    return _element(sheet, alt, factor=max(1, round(cell / (width * inner))))


def single(path: Path, alt: str, *, width: int = 96) -> Html | None:
    """One PNG file, enlarged without smoothing; None if it cannot be read."""
    images = _load([path])
    return _element(images[0], alt, width=width) if images else None


def signed(tensor: Tensor, alt: str, limit: float, *, width: int = 160) -> Html | None:
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
    return _element(pillow.frombytes("L" if channels == 1 else "RGB", (columns, height), raw), alt, width=width)


def _load(paths: Sequence[Path]) -> list[Image]:
    try:
        from PIL import Image as pillow
    except ImportError:
        return []
    images = []
    for path in paths:
        try:
            with pillow.open(path, formats=["PNG"]) as image:
                if image.width * image.height > _PIXEL_LIMIT:
                    continue
                images.append(image.convert("L" if image.mode in ("1", "L") else "RGB"))
        except (OSError, ValueError, SyntaxError):
            continue
    return images


def _element(image: Image, alt: str, *, factor: int | None = None, width: int = 0) -> Html:
    if factor is None:
        factor = max(1, round(width / image.width))
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    return tag("img", src=uri, alt=alt, width=image.width * factor, height=image.height * factor, class_="pixels")
