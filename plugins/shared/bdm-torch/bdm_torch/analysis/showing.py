"""Arrays and pictures that an analysis keeps beside its numbers (decision 25). Light: no torch.

``ctx.figures(arrays=..., pictures=...)``: arrays are for programs, ``{title: {"shape": [...], "values": [...]}}``;
pictures are for the report, ``{title: {"caption": ..., "files": [{"label": ..., "png": BASE64}]}}``.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from bdm_core.context import Context

Array = np.ndarray[Any, Any]
DIGITS = 5
"""Significant digits of the values that are kept."""


def keep_arrays(ctx: Context, arrays: Mapping[str, Any]) -> None:
    """Keep arrays by title, rounded to five significant digits.

    >>> from pathlib import Path
    >>> kept = {}
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0, on_figures=kept.update)
    >>> keep_arrays(ctx, {"rates": [[0.5, 1 / 3]]})
    >>> kept["arrays"]["rates"]
    {'shape': [1, 2], 'values': [0.5, 0.33333]}
    >>> kept_array(kept, "rates").shape
    (1, 2)
    """
    made = {}
    for title, values in arrays.items():
        array = np.asarray(values, dtype=np.float64)
        made[title] = {"shape": list(array.shape), "values": [float(f"{x:.{DIGITS}g}") for x in array.ravel().tolist()]}
    ctx.figures(arrays=made)


def kept_array(figures: Mapping[str, Any], title: str) -> Array:
    """An array of a stage's figures, as :func:`keep_arrays` kept it. Raises KeyError if there is none of that title."""
    kept = figures["arrays"][title]
    found: Array = np.asarray(kept["values"], dtype=np.float64).reshape(kept["shape"])
    return found


def keep_pictures(ctx: Context, title: str, caption: str, pictures: Sequence[tuple[str, Image.Image]]) -> None:
    """Keep pictures for the report.

    Args:
        ctx: of the stage.
        title: unique within the stage.
        caption: what to look for, in a sentence.
        pictures: each with a word or two, or "".
    """
    files = []
    for label, picture in pictures:
        stream = io.BytesIO()
        picture.save(stream, format="PNG", optimize=True)
        files.append({"label": label, "png": base64.b64encode(stream.getvalue()).decode("ascii")})
    ctx.figures(pictures={title: {"caption": caption, "files": files}})


def picture_of(sample: Array) -> Image.Image:
    """A picture of (C, H, W) values in [0, 1]; of more than three channels the first three, of two the first.

    >>> picture_of(np.ones((3, 4, 6))).size
    (6, 4)
    """
    levels = (np.clip(sample, 0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(levels[:3].transpose(1, 2, 0)) if len(levels) >= 3 else Image.fromarray(levels[0])


def overlaid(sample: Array, heat: Array) -> Image.Image:
    """A picture (C, H, W) in [0, 1], grey, under a heat map (H, W) in [0, 1]: the hotter the redder.

    >>> overlaid(np.zeros((1, 2, 2)), np.ones((2, 2))).getpixel((0, 0))
    (255, 40, 0)
    """
    grey = np.repeat(np.asarray(sample).mean(0)[None], 3, axis=0)
    hot = np.array([1.0, 40 / 255, 0.0])[:, None, None] * np.ones_like(grey)
    return picture_of(grey * (1 - heat) + hot * heat)


def beside(pictures: Sequence[Image.Image], gap: int = 1) -> Image.Image:
    """Pictures of one height in a row, white between them.

    >>> beside([Image.new("L", (4, 3)), Image.new("RGB", (4, 3))]).size
    (9, 3)
    """
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    made, place = Image.new("RGB", (width, pictures[0].height), (255, 255, 255)), 0
    for picture in pictures:
        made.paste(picture.convert("RGB"), (place, 0))
        place += picture.width + gap
    return made


def stacked(pictures: Sequence[Image.Image], gap: int = 1) -> Image.Image:
    """Pictures of one width below each other, white between them.

    >>> stacked([Image.new("L", (4, 3)), Image.new("RGB", (4, 3))]).size
    (4, 7)
    """
    height = sum(picture.height for picture in pictures) + gap * (len(pictures) - 1)
    made, place = Image.new("RGB", (pictures[0].width, height), (255, 255, 255)), 0
    for picture in pictures:
        made.paste(picture.convert("RGB"), (0, place))
        place += picture.height + gap
    return made


def tile(sample: Array, side: int) -> Image.Image:
    """A picture of (C, H, W) values in [0, 1], about ``side`` pixels wide: small ones have larger pixels.

    >>> tile(np.ones((3, 16, 16)), 72).size, tile(np.ones((1, 512, 512)), 72).size
    ((64, 64), (72, 72))
    """
    picture = picture_of(sample)
    times = side // picture.width
    if times >= 1:
        return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    return picture.resize((side, max(1, side * picture.height // picture.width)), Image.Resampling.BOX)


def in_words(text: str) -> str:
    """A piece of a prompt for a title or a label: behind every character that is not ASCII its code point.

    >>> in_words("a star"), in_words("\u200ba star"), in_words("ph\u043eto") == "ph\u043e(U+043E)to"
    ('a star', '(U+200B)a star', True)
    """
    return "".join(
        letter if letter.isascii() else f"{letter if letter.isprintable() else ''}(U+{ord(letter):04X})"
        for letter in text
    )
