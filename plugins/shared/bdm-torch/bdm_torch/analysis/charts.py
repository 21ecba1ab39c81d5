"""Plain charts as pictures: points, lines, bars, heat maps, maps of classes, a radar. Light: no torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Array = np.ndarray[Any, Any]
Colour = tuple[int, int, int]
INK, PAPER, FAINT, RULE = (32, 32, 32), (255, 255, 255), (120, 120, 120), (220, 220, 220)
COLOURS: list[Colour] = [
    (30, 90, 160),
    (210, 110, 20),
    (40, 140, 70),
    (150, 60, 150),
    (130, 100, 60),
    (0, 150, 170),
    (190, 60, 90),
    (110, 120, 20),
    (90, 90, 200),
    (120, 120, 120),
]
"""Of classes and of lines, in turn."""
SIGNAL: Colour = (220, 0, 0)
"""Of what has the trigger."""
WIDTH, HEIGHT, LEFT, BELOW, ABOVE, RIGHT = 480, 320, 70, 34, 24, 12
LONGEST = 24
"""Letters of a name in a legend."""


class Sheet:
    """A chart's paper: axes with two labelled ends each, and places of values.

    Args:
        across: lowest and highest value from left to right.
        up: from below to above.
        names: of the two axes.
        legend: names in their colours, on the right of the axes.
    """

    def __init__(
        self,
        across: tuple[float, float],
        up: tuple[float, float],
        names: tuple[str, str],
        legend: Sequence[tuple[str, Colour]] = (),
    ) -> None:
        self.across, self.up = _wide(across), _wide(up)
        self.picture = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
        self.pen, self.font = ImageDraw.Draw(self.picture), ImageFont.load_default(13)
        shown = [(name[:LONGEST], colour) for name, colour in legend]
        taken = max((self.pen.textlength(name, font=self.font) for name, _ in shown), default=0.0)
        self.right = WIDTH - RIGHT - (taken + 8 if taken else 0)
        left, right, top, bottom = LEFT, self.right, ABOVE, HEIGHT - BELOW
        self.pen.rectangle((left, top, right, bottom), outline=RULE)
        for value, anchor, x in ((self.across[0], "la", left), (self.across[1], "ra", right)):
            self.pen.text((x, bottom + 4), f"{value:.3g}", fill=FAINT, font=self.font, anchor=anchor)
        for value, anchor, y in ((self.up[0], "rs", bottom), (self.up[1], "ra", top)):
            self.pen.text((left - 5, y), f"{value:.3g}", fill=FAINT, font=self.font, anchor=anchor)
        self.pen.text(((left + right) / 2, HEIGHT - 4), names[0], fill=INK, font=self.font, anchor="ms")
        self.pen.text((left, top - 5), names[1], fill=INK, font=self.font, anchor="ls")
        for row, (name, colour) in enumerate(shown):
            self.pen.text((right + 8, top + 16 * row), name, fill=colour, font=self.font, anchor="la")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies on the paper."""
        inner = (self.right - LEFT, HEIGHT - BELOW - ABOVE)
        right = LEFT + inner[0] * (x - self.across[0]) / (self.across[1] - self.across[0])
        return right, HEIGHT - BELOW - inner[1] * (y - self.up[0]) / (self.up[1] - self.up[0])


def scatter(
    groups: Mapping[str, Array], names: tuple[str, str], colours: Sequence[Colour] = (), rings: Sequence[str] = ()
) -> Image.Image:
    """Points (N, 2) of several groups, each in its colour, the last ones on top; those of ``rings`` are hollow.

    >>> scatter({"a": np.zeros((3, 2)), "b": np.ones((1, 2))}, ("x", "y")).size
    (480, 320)
    """
    every = np.concatenate([points for points in groups.values() if len(points)] or [np.zeros((1, 2))])
    used = [(name, (colours or COLOURS)[n % len(colours or COLOURS)]) for n, name in enumerate(groups)]
    sheet = Sheet(_span(every[:, 0]), _span(every[:, 1]), names, used)
    for (name, colour), points in zip(used, groups.values(), strict=True):
        for x, y in points.tolist():
            right, down = sheet.place(x, y)
            place = (right - 2.5, down - 2.5, right + 2.5, down + 2.5)
            sheet.pen.ellipse(place, fill=None if name in rings else colour, outline=colour)
    return sheet.picture


def lines(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    names: tuple[str, str],
    colours: Sequence[Colour] = (),
    up: tuple[float, float] | None = None,
) -> Image.Image:
    """Lines over common places; values that are not finite interrupt a line.

    The axis goes from the lowest to the highest value, or as ``up`` says.

    >>> lines([0, 1], {"a": [0.0, 1.0]}, ("strength", "ASR")).size
    (480, 320)
    """
    finite = [value for values in curves.values() for value in values if math.isfinite(value)] or [0.0]
    used = [(name, (colours or COLOURS)[n % len(colours or COLOURS)]) for n, name in enumerate(curves)]
    sheet = Sheet((min(x), max(x)), up or (min(finite), max(finite)), names, used[:16])
    for (_, colour), values in zip(used, curves.values(), strict=True):
        points = [sheet.place(a, b) if math.isfinite(b) else None for a, b in zip(x, values, strict=False)]
        for first, second in itertools.pairwise(points):
            if first and second:
                sheet.pen.line((*first, *second), fill=colour, width=2)
    return sheet.picture


def bars(values: Sequence[float], names: tuple[str, str], marked: Sequence[int] = ()) -> Image.Image:
    """A bar for each value, those that are marked in the colour of the trigger.

    >>> bars([1.0, 3.0], ("unit", "TAC"), marked=[1]).size
    (480, 320)
    """
    sheet = Sheet((0, max(1, len(values))), (min(0.0, *values, 0.0), max(0.0, *values, 0.0)), names)
    for number, value in enumerate(values):
        left, top = sheet.place(number, max(value, 0.0))
        right, bottom = sheet.place(number + 1, min(value, 0.0))
        colour = SIGNAL if number in marked else COLOURS[0]
        sheet.pen.rectangle((left, top, max(left, right - (1 if right - left > 3 else 0)), bottom), fill=colour)
    return sheet.picture


def histogram(groups: Mapping[str, Array], name: str, colours: Sequence[Colour], bins: int = 40) -> Image.Image:
    """Shares of each group's values in common bins, as steps.

    >>> histogram({"clean": np.zeros(5), "triggered": np.ones(5)}, "activation", [COLOURS[0], SIGNAL]).size
    (480, 320)
    """
    low, high = _span(np.concatenate([values.ravel() for values in groups.values()]))
    edges = np.linspace(low, high, bins + 1)
    found = {key: np.histogram(values, edges)[0] / max(1, values.size) for key, values in groups.items()}
    steps: dict[str, list[float]] = {key: [*np.repeat(share, 2).tolist()] for key, share in found.items()}
    places = np.repeat(edges, 2)[1:-1].tolist()
    return lines(places, steps, (name, "share of rows"), colours)


def densities(groups: Mapping[str, Array], name: str, colours: Sequence[Colour], points: int = 120) -> Image.Image:
    """The density of each group's values, smoothed by :func:`density`.

    >>> densities({"clean": np.arange(5.0), "triggered": np.ones(3)}, "activation", [COLOURS[0], SIGNAL]).size
    (480, 320)
    """
    low, high = _span(np.concatenate([values.ravel() for values in groups.values()]))
    places = np.linspace(low - (high - low) / 6, high + (high - low) / 6, points)
    curves = {key: density(values, places).tolist() for key, values in groups.items()}
    most = max(max(curve) for curve in curves.values())
    return lines(places.tolist(), curves, (name, "density"), colours, up=(0.0, most))


def density(values: Array, places: Array) -> Array:
    """A kernel density estimate: Gaussians as wide as Scott's rule has them, deviation N^(-1/5).

    Of values that are all equal a narrow bell.

    >>> float(density(np.zeros(3), np.zeros(1))[0]) > 1
    True
    """
    flat = values.ravel().astype(np.float64)
    spread = float(flat.std(ddof=1)) if len(flat) > 1 else 0.0
    width = spread * len(flat) ** -0.2 or 0.01 * max(1e-9, float(np.ptp(places)) or 1.0)
    found: Array = np.exp(-0.5 * ((places[:, None] - flat) / width) ** 2).mean(1) / (width * math.sqrt(2 * math.pi))
    return found


def heat_map(values: Array, cell: int = 12) -> Image.Image:
    """(H, W) values from white (lowest) to dark blue (highest), ``cell`` pixels each.

    >>> heat_map(np.eye(2), cell=3).size
    (6, 6)
    """
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    share = (np.nan_to_num(values, nan=low) - low) / ((high - low) or 1.0)
    dark = np.array([10, 40, 110])[None, None]
    levels = (255 + (dark - 255) * share[..., None]).round().astype(np.uint8)
    return Image.fromarray(levels.repeat(cell, axis=0).repeat(cell, axis=1))


def class_map(classes: Array, cell: int = 4) -> Image.Image:
    """(H, W) class numbers, each in its colour.

    >>> class_map(np.array([[0, 1]]), cell=2).size
    (4, 2)
    """
    table = np.array(COLOURS, dtype=np.uint8)
    return Image.fromarray(table[classes % len(COLOURS)].repeat(cell, axis=0).repeat(cell, axis=1))


def radar(values: Mapping[str, float], before: Mapping[str, float] | None = None) -> Image.Image:
    """Numbers in [0, 1] on as many spokes; those of ``before`` faint.

    >>> radar({"ACC": 1.0, "1 - ASR": 0.5, "R-Acc": 0.5}).size
    (480, 320)
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    angles = [2 * math.pi * number / len(values) - math.pi / 2 for number in range(len(values))]

    def at(angle: float, share: float) -> tuple[float, float]:
        return 240 + 115 * share * math.cos(angle), 160 + 115 * share * math.sin(angle)

    for share in (0.5, 1.0):
        ring = [at(angle, share) for angle in angles]
        pen.line([*ring, ring[0]], fill=RULE)
    for angle, name in zip(angles, values, strict=True):
        pen.line([at(angle, 0), at(angle, 1)], fill=RULE)
        side = "lm" if math.cos(angle) > 0.2 else "rm" if math.cos(angle) < -0.2 else "mm"
        pen.text(at(angle, 1.1), f"{name} {values[name]:.2f}", fill=INK, font=font, anchor=side)
    for shown, colour in ((before, FAINT), (values, COLOURS[0])):
        if shown is not None and set(shown) >= set(values):
            ring = [at(angle, min(1.0, max(0.0, shown[name]))) for angle, name in zip(angles, values, strict=True)]
            pen.line([*ring, ring[0]], fill=colour, width=2)
    return picture


def _span(values: Array) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _wide(span: tuple[float, float]) -> tuple[float, float]:
    return span if span[1] > span[0] else (span[0] - 0.5, span[0] + 0.5)
