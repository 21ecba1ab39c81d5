"""A quadratic Bezier curve of weights: p(t) = (1 - t)^2 w1 + 2 t (1 - t) w + t^2 w2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Curve:
    """The two ends of a curve, which stay; its middle is given to each call.

    Attributes:
        start: w1 by name.
        end: w2, the same names.

    >>> import torch
    >>> curve = Curve({"w": torch.tensor(0.0)}, {"w": torch.tensor(4.0)})
    >>> [float(curve.at(t, {"w": torch.tensor(6.0)})["w"]) for t in (0, 0.5, 1)]
    [0.0, 4.0, 4.0]
    """

    start: Weights
    end: Weights

    def at(self, t: float, middle: Weights) -> dict[str, Tensor]:
        """The weights at t, 0 to 1; differentiable in the middle."""
        return {
            name: (1 - t) ** 2 * self.start[name] + 2 * t * (1 - t) * value + t**2 * self.end[name]
            for name, value in middle.items()
        }
