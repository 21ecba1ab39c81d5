"""How alike the attention maps of a prompt's tokens are (T2IShield, Wang et al., ECCV 2024, arXiv 2407.04215)."""

from __future__ import annotations

from torch import Tensor

GREY_LEVELS = 255


def truncation_score(maps: Tensor, length: int) -> float:
    """FTT's F: the mean distance of the maps of words and end to the mean map.

    Args:
        maps: (L - 1, h, w) in [0, 1], quantised, those of positions 1, 2, ...: without the start.
        length: n, the prompt's tokens with start and end. The mean is over n maps, which takes one pad in, as
            published; of a full prompt, which has no pad, over n - 1.

    Returns:
        F; low is suspicious.
    """
    mean = maps[:length].double().mean(0)
    return float((maps[: length - 1].double() - mean).flatten(1).norm(dim=1).mean())


def quantised(maps: Tensor) -> Tensor:
    """Maps (N, h, w) each divided by its largest value, at 256 levels, in [0, 1]; a map of zeros stays one."""
    largest = maps.flatten(1).amax(1).clamp(min=1e-12)[:, None, None]
    return (maps / largest * GREY_LEVELS).floor() / GREY_LEVELS


def mean_cosine(maps: Tensor) -> float:
    """The mean cosine similarity of two different maps of (N, h, w), N > 1, in [0, 1] for maps without negative values.

    >>> import torch
    >>> mean_cosine(torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]], [[3.0, 0.0]]]))
    0.3333333333333333
    """
    rows = maps.double().flatten(1)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-30)
    count = len(rows)
    return float((rows.sum(0).square().sum() - rows.square().sum()) / (count * (count - 1)))
