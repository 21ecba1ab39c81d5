"""What a person sees of an artifact: pictures, texts with marks, sound, arrays, curves. A kit's ``illustrate`` answers
with them, and the report draws them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from bdm_core.artifacts import Record

Mark = Literal["", "trigger", "target", "removed", "note"]


class Figure(Record):
    """Base of all figures.

    Attributes:
        title: a few words; "" where the artifact's place in the report says enough.
        caption: what to look for, in a sentence.
    """

    title: str = ""
    caption: str = ""


class Pictures(Figure):
    """PNG files of one size, shown as a grid.

    Attributes:
        files: files of the artifact (absolute paths), or ones that the hook wrote below ``ctx.out``.
        labels: a word or two for each file, or nothing.
        columns: pictures in a row.
    """

    files: list[Path] = Field(min_length=1)
    labels: list[str] = Field(default_factory=list)
    columns: int = Field(8, ge=1)


class Span(Record):
    """A piece of text and why it is marked: ``trigger`` put in, ``target``, ``removed``, a ``note``; "" for plain."""

    text: str
    mark: Mark = ""


class Texts(Figure):
    """Lines of text, each a list of spans.

    >>> line = [Span(text="a ph"), Span(text="ö", mark="trigger"), Span(text="to")]
    >>> "".join(span.text for span in Texts(rows=[line]).rows[0])
    'a phöto'
    """

    rows: list[list[Span]] = Field(min_length=1)


class Audio(Figure):
    """WAV files with a player each. ``files`` as for pictures; ``labels`` a few words for each file, or nothing."""

    files: list[Path] = Field(min_length=1)
    labels: list[str] = Field(default_factory=list)


class Arrays(Figure):
    """Signed tensors (C, H, W) with C of 1 or 3, drawn on one scale with 0 in the middle, and compared in pairs.

    Attributes:
        values: name -> the values, row after row.
        shape: (C, H, W) of each.

    >>> Arrays(values={"trigger": [0.0, 1.0, -1.0, 0.5]}, shape=(1, 2, 2)).shape
    (1, 2, 2)
    """

    values: dict[str, list[float]] = Field(min_length=1)
    shape: tuple[int, int, int]


class Curves(Figure):
    """Lines over a common axis: name -> one value a step.

    >>> Curves(curves={"loss": [0.9, 0.4, 0.3]}).axis
    'step'
    """

    curves: dict[str, list[float]] = Field(min_length=1)
    axis: str = "step"
