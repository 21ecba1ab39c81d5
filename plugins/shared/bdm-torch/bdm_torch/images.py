"""Read foreign images: any mode and size in, 8-bit grey or colour of the model's size out."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from bdm_core.errors import UserError
from bdm_torch.data_folders import PICTURES, open_data_folder, training_tables

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""What Pillow may decode, whatever a file is called."""
LARGEST_FILE = 256 * 2**20
LARGEST_PIXELS = 64_000_000


def to_bytes(images: Tensor) -> Tensor:
    """Images in [-1, 1] (clamped) as uint8, rounded to the nearest of the 256 levels.

    >>> to_bytes(torch.tensor([-1.0, 0.0, 1.0, 7.0])).tolist()
    [0, 128, 255, 255]
    """
    return images.detach().float().cpu().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def from_bytes(images: Tensor) -> Tensor:
    """uint8 images as float32 in [-1, 1]; the inverse of :func:`to_bytes` on its levels.

    >>> from_bytes(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    [-1.0, 1.0]
    """
    return images.to(torch.float32).div(127.5).sub(1)


def save_picture(path: Path, image: Tensor) -> None:
    """Write one image (C, H, W) in [-1, 1], C of 1 or 3, as an 8-bit PNG; values outside the range are clipped.

    >>> save_picture(Path("white.png"), torch.ones(1, 8, 8))
    >>> read_image(Path("white.png"), (1, 8, 8)).min().item()
    255
    """
    _pixels(image).save(path)


def png_of(image: Tensor, least_side: int = 1) -> bytes:
    """The bytes of one image (C, H, W) in [-1, 1], C of 1 or 3, as an 8-bit PNG.

    Args:
        image: values outside the range are clipped.
        least_side: a smaller image is enlarged by the least whole number by which both sides reach it; each pixel
            becomes a square, nothing is blurred.

    >>> content = png_of(torch.ones(3, 16, 16), least_side=100)
    >>> read_image(content, (3, 112, 112)).shape, content[1:4]
    ((3, 112, 112), b'PNG')
    """
    picture = _pixels(image)
    times = max(1, -(-least_side // min(picture.size)))
    if times > 1:
        picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _pixels(image: Tensor) -> Image.Image:
    pixels = to_bytes(image).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def read_image(
    source: Path | bytes, shape: Sequence[int], name: str = "", *, formats: Sequence[str] = FORMATS
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decode a PNG, JPEG, WebP, BMP or TIFF, crop it centrally to the wanted proportions, and resize it.

    Args:
        source: a file, or its content.
        shape: (C, H, W) wanted; C is 1 or 3.
        name: for messages; the path by default.
        formats: what else Pillow may decode instead of :data:`FORMATS`, by its names.

    Returns:
        uint8 of ``shape``. Transparent pixels are laid on white, 16-bit grey is scaled, rotation by EXIF is applied; of
        several pictures in a file the first counts.

    Raises:
        UserError: the file has another format or 32 bits a pixel and channel, is damaged, or is larger than 256 MiB or
            64 megapixels.

    >>> save_picture(Path("grey.png"), torch.zeros(1, 8, 6))
    >>> read_image(Path("grey.png"), (3, 4, 4)).shape
    (3, 4, 4)
    >>> read_image(b"no picture", (3, 4, 4), "upload")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: cannot read the image upload: it is none of PNG, JPEG, WEBP, BMP, TIFF, or damaged
    """
    name = name or (f"of {len(source)} bytes" if isinstance(source, bytes) else str(source))
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size > LARGEST_FILE:
            raise ValueError(f"{size / 2**20:.0f} MiB is more than the allowed {LARGEST_FILE // 2**20} MiB")
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as file:
            if file.width * file.height > LARGEST_PIXELS:
                raise ValueError(
                    f"{file.width}x{file.height} pixels are more than {LARGEST_PIXELS // 10**6} megapixels"
                )
            if file.mode == "F" or (file.format == "TIFF" and file.mode == "I"):
                raise ValueError("which of its 32-bit values are black and white is not known")
            return fit_image(ImageOps.exif_transpose(file), shape)
    except UnidentifiedImageError:  # its own message names an object in memory
        raise UserError(f"cannot read the image {name}: it is none of {', '.join(formats)}, or damaged") from None
    except Exception as error:  # a damaged file raises nearly anything in a decoder
        said = error.strerror if isinstance(error, OSError) else None  # without the name, which is said already
        reason = (said or str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot read the image {name}: {reason}; repair or remove it") from None


def fit_image(image: Image.Image, shape: Sequence[int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image cropped centrally to the wanted proportions and resized: uint8 of ``shape``, (C, H, W), C of 1 or 3.

    >>> fit_image(Image.new("RGB", (8, 6), "white"), (1, 4, 4)).tolist()[0][0]
    [255, 255, 255, 255]
    """
    channels, height, width = shape
    image = _plain(image).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    pixels: np.ndarray[Any, np.dtype[np.uint8]] = np.asarray(image, dtype=np.uint8).reshape(height, width, -1)
    return pixels.transpose(2, 0, 1)


def _plain(image: Image.Image) -> Image.Image:
    """The image as 8-bit without transparency, in a mode that converts to grey and colour faithfully."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def read_folder(folder: Path, shape: Sequence[int], limit: int | None = None, cache: Path | None = None) -> Tensor:
    """All images of a folder and its subfolders, in the order of their names; or those of its parquet files.

    Args:
        folder: holds PNG, JPEG, WebP, BMP and TIFF files, or a data set in the Hub's parquet layout: its ``train``
            files, or all if none is named so. A warning counts what else might be data.
        shape: (C, H, W) wanted.
        limit: read at most so many.
        cache: where ``datasets`` may keep its converted copy of parquet files.

    Returns:
        uint8 (N, C, H, W).

    Raises:
        UserError: there is no folder or no image, or one is broken (the message names it).

    >>> Path("photos").mkdir()
    >>> save_picture(Path("photos/a.png"), torch.zeros(1, 8, 8))
    >>> save_picture(Path("photos/b.png"), torch.ones(1, 8, 8))
    >>> read_folder(Path("photos"), (1, 4, 4)).shape
    torch.Size([2, 1, 4, 4])
    """
    found = open_data_folder(folder)
    if found.tables:
        found.warn_of(found.pictures, found.others)
        named: Iterator[tuple[str, Path | bytes]] = _table_images(training_tables(found.tables), cache)
    else:
        found.warn_of(found.others)
        found.warn_of_formats()
        named = ((str(path), path) for path in found.pictures)
    images = []
    for name, source in named:
        images.append(read_image(source, shape, name))
        if len(images) == limit:
            break
    if not images:
        raise UserError(f"{folder} holds no images: expected {', '.join(PICTURES)} or .parquet files")
    return torch.from_numpy(np.stack(images))


def _table_images(files: list[Path], cache: Path | None) -> Iterator[tuple[str, bytes]]:
    """The content of the image column of parquet files. A row that points to a file instead is refused."""
    try:
        import datasets
    except ImportError:
        raise UserError("parquet data sets need datasets: pip install 'bdm-torch[hub]'") from None
    paths = [str(path) for path in files]
    try:
        table = datasets.Dataset.from_parquet(paths, cache_dir=str(cache) if cache else None)
        columns = [name for name, kind in table.features.items() if _holds_images(kind, datasets.Image)]
    except Exception as error:  # pyarrow and datasets raise errors of many classes
        raise UserError(f"cannot read {paths[0]}: {(str(error) or type(error).__name__).splitlines()[0]}") from None
    if not columns:
        raise UserError(f"{paths[0]} has no image column; its columns are {', '.join(table.column_names)}")
    if isinstance(table.features[columns[0]], datasets.Image):
        table = table.cast_column(columns[0], datasets.Image(decode=False))
    for number, row in enumerate(table):
        content = row[columns[0]]["bytes"]
        if content is None:
            raise UserError(f"row {number} of {paths[0]} points to a file instead of holding an image: refused")
        yield f"in row {number} of {paths[0]}", content


def _holds_images(kind: Any, image_class: type) -> bool:
    return isinstance(kind, image_class) or (isinstance(kind, dict) and set(kind) == {"bytes", "path"})
