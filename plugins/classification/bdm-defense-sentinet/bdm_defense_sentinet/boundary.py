"""The boundary of clean pictures in the plane of confidence and fooled count (Chou et al., section 4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
GRID = 401
"""Points of the curve among which the nearest is looked for."""


@dataclass(frozen=True, eq=False)
class Boundary:
    """A polynomial that bounds clean pictures from above.

    Attributes:
        coefficients: from the highest power to the constant.
    """

    coefficients: Array

    def height(self, confidence: Array) -> Array:
        """The curve, within [0, 1]."""
        return np.clip(np.polyval(self.coefficients, confidence), 0.0, 1.0)

    def distances(self, confidence: Array, fooled: Array) -> Array:
        """How far each point is from the curve, (N,); negative below it.

        Args:
            confidence: (N,) in [0, 1].
            fooled: (N,) in [0, 1].
        """
        line = np.linspace(0.0, 1.0, GRID)
        curve = self.height(line)
        apart = np.sqrt((confidence[:, None] - line) ** 2 + (fooled[:, None] - curve) ** 2).min(axis=1)
        signed: Array = np.where(fooled >= self.height(confidence), apart, -apart)
        return signed


def fit_boundary(confidence: Array, fooled: Array, bins: int, degree: int) -> Boundary:
    """The polynomial of least squares through the highest clean point of each part of the confidence axis.

    Args:
        confidence: (M,) in [0, 1], of clean pictures.
        fooled: (M,) in [0, 1].
        bins: parts of equal width; those without points give none.
        degree: lower where fewer parts have points.

    >>> x = np.linspace(0, 1, 50)
    >>> np.round(fit_boundary(x, x**2, bins=50, degree=2).coefficients, 6).tolist()
    [1.0, 0.0, 0.0]
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    highest = []
    for number in range(bins):
        own = np.flatnonzero(place == number)
        if len(own):
            highest.append(own[np.argmax(fooled[own])])
    x, y = confidence[highest], fooled[highest]
    coefficients = np.polynomial.polynomial.polyfit(x, y, min(degree, len(highest) - 1))
    return Boundary(np.asarray(coefficients[::-1] + 0.0, dtype=np.float64))
