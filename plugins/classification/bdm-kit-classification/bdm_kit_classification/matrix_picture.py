"""A confusion matrix as a picture. Light: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL, MOST_LETTERS = 48, 7
INK, PAPER, FAINT = (32, 32, 32), (255, 255, 255), (150, 150, 150)
RIGHT, WRONG = (30, 90, 160), (190, 80, 30)
"""Full colours of a row's right and wrong predictions; a cell is the paler the smaller its share of the row."""


def draw_matrix(path: Path, counts: np.ndarray[Any, Any], names: list[str]) -> Path:
    """Write a PNG of counts (K, K), a row for each true class and a column for each predicted one; return the path.

    >>> draw_matrix(Path("matrix.png"), np.eye(2, dtype=int), ["cat", "dog"]).stat().st_size > 100
    True
    """
    side = CELL * (len(counts) + 1)
    picture = Image.new("RGB", (side, side), PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(22)

    def write(row: int, column: int, text: str, colour: tuple[int, int, int]) -> None:
        place = (column * CELL + CELL / 2, row * CELL + CELL / 2)
        pen.text(place, text, fill=colour, font=font, anchor="mm")

    for number, name in enumerate(names, 1):
        write(number, 0, name[:MOST_LETTERS], FAINT)
        write(0, number, name[:MOST_LETTERS], FAINT)
    for row, line in enumerate(counts.tolist(), 1):
        for column, count in enumerate(line, 1):
            if count:
                share = count / sum(line)
                full = RIGHT if row == column else WRONG
                shade = [round(255 + (tone - 255) * share) for tone in full]
                x, y = column * CELL, row * CELL
                pen.rectangle((x, y, x + CELL - 2, y + CELL - 2), fill=(shade[0], shade[1], shade[2]))
                write(row, column, str(count), PAPER if share > 0.6 else INK)
    picture.save(path)
    return path
