"""Which classes are infected: rows with deviating Gram matrices beside the others of their class (section IV of the
paper): their features come from another distribution.

The maximum mean discrepancy between both groups is one number for each class; classes far above the others, by median
and median absolute deviation, are infected.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST = 500
"""Rows of each group that are compared, as released."""
WIDTHS = (0.5, 1.0)
"""Of the Gaussian kernels, in medians of the squared distances, as released."""
CONSISTENT = 1.4826


def discrepancy(usual: Tensor, deviating: Tensor) -> float:
    """m n / (m + n) times the squared maximum mean discrepancy of features (m, F) and (n, F); 0 without rows in both.

    The kernel is the sum of exp(-|x - y|^2 / w) over the widths w.

    >>> discrepancy(torch.zeros(3, 2), torch.zeros(0, 2)), discrepancy(torch.zeros(3, 2), torch.zeros(2, 2))
    (0.0, 0.0)
    """
    one, other = usual[:MOST].double(), deviating[:MOST].double()
    if not len(one) or not len(other):
        return 0.0
    rows = torch.cat([one, other])
    squares = torch.cdist(rows, rows).square()
    middle = float(squares.median()) or 1.0
    kernel = sum((torch.exp(-squares / (width * middle)) for width in WIDTHS), torch.zeros_like(squares))
    size = len(one)
    apart = kernel[:size, :size].mean() + kernel[size:, size:].mean() - 2 * kernel[:size, size:].mean()
    return max(0.0, float(apart)) * size * len(other) / (size + len(other))


def statistics(values: Tensor) -> Tensor:
    """The numbers of all classes (K,) less their median, in robust standard deviations."""
    from_median = values - values.quantile(0.5)
    return from_median / (CONSISTENT * from_median.abs().quantile(0.5) + 1e-6)
