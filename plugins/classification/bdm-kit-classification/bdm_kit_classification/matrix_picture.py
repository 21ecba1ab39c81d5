"""A confusion matrix as a picture. Light: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL, GAP, MOST_MARGIN = 48, 6, 160
"""Pixels of a cell, around a name, and of the margin with the names of the rows and columns."""
INK, PAPER, FAINT = (32, 32, 32), (255, 255, 255), (150, 150, 150)
RIGHT, WRONG = (30, 90, 160), (190, 80, 30)
"""Full colours of a row's right and wrong predictions; a cell is the paler the smaller its share of the row."""


def draw_matrix(path: Path, counts: np.ndarray[Any, Any], names: list[str]) -> Path:
    """Write a PNG of counts (K, K), a row for each true class and a column for each predicted one; return the path.

    Names that are longer than the margin are cut off behind an ellipsis; those of columns stand on end if need be.

    >>> draw_matrix(Path("matrix.png"), np.eye(2, dtype=int), ["cat", "dog"]).stat().st_size > 100
    True
    """
    font = ImageFont.load_default(22)
    shown = [_fitting(name, font) for name in names]
    longest = max(round(font.getlength(name)) for name in shown)
    left = max(CELL, longest + 2 * GAP)
    top = CELL if longest <= CELL - GAP else left
    picture = Image.new("RGB", (left + CELL * len(counts), top + CELL * len(counts)), PAPER)
    pen = ImageDraw.Draw(picture)
    for number, name in enumerate(shown):
        middle = number * CELL + CELL // 2
        pen.text((left - GAP, top + middle), name, fill=FAINT, font=font, anchor="rm")
        if top == CELL:
            pen.text((left + middle, CELL / 2), name, fill=FAINT, font=font, anchor="mm")
            continue
        upright = Image.new("RGB", (top, CELL), PAPER)
        ImageDraw.Draw(upright).text((GAP, CELL / 2), name, fill=FAINT, font=font, anchor="lm")
        picture.paste(upright.rotate(90, expand=True), (left + number * CELL, 0))
    for row, line in enumerate(counts.tolist()):
        for column, count in enumerate(line):
            if count:
                share = count / sum(line)
                full = RIGHT if row == column else WRONG
                shade = [round(255 + (tone - 255) * share) for tone in full]
                x, y = left + column * CELL, top + row * CELL
                pen.rectangle((x, y, x + CELL - 2, y + CELL - 2), fill=(shade[0], shade[1], shade[2]))
                colour = PAPER if share > 0.6 else INK
                pen.text((x + CELL / 2, y + CELL / 2), str(count), fill=colour, font=font, anchor="mm")
    picture.save(path)
    return path


def _fitting(name: str, font: Any) -> str:
    """The name, without characters that have no glyph, as much of it as the margin has room for."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in name)
    most = MOST_MARGIN - 2 * GAP
    if font.getlength(clean) <= most:
        return clean
    kept = clean[:100]
    while kept and font.getlength(f"{kept}...") > most:
        kept = kept[:-1]
    return f"{kept}..."
