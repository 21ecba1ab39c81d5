"""The kit's own networks for sound: a small CNN over log-mel bands, and M5.

Each has ``body``, which gives features (N, F) of waveforms (N, S), ``head``, a linear map, and ``pairs``, as those for
pictures.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_kit_classification.models.folding import convolved
from bdm_kit_classification.models.networks import Pairs, SmallNetwork
from bdm_kit_classification.sounds.spectra import log_mel, mel_matrix

BANDS = 32


class LogMel(nn.Module):
    """Waveforms (N, S) as normalised log-mel bands (N, 1, 32, frames): frames of 32 ms every 16 ms; differentiable.

    Args:
        rate: samples a second.
        mean, deviation: of log-mel bands.
    """

    def __init__(self, rate: int, mean: float, deviation: float) -> None:
        super().__init__()
        self.window, self.hop = 2 * max(8, round(0.016 * rate)), max(8, round(0.016 * rate))
        self.mean, self.deviation = mean, deviation
        self.register_buffer("matrix", mel_matrix(BANDS, self.window, rate).contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 32, frames)."""
        x = functional.pad(x, (0, max(0, self.window - x.shape[1])))
        found = log_mel(x, self.window, self.hop, cast(Tensor, self.matrix))
        return ((found - self.mean) / self.deviation)[:, None]


class LogMelCNN(SmallNetwork):
    """Log-mel bands, then the small network for pictures.

    Args:
        rate: samples a second.
        width: of the first layer.
        classes: how many.
        mean, deviation: of log-mel bands.
    """

    def __init__(self, rate: int, width: int, classes: int, mean: float, deviation: float) -> None:
        super().__init__(1, width, classes)
        self.front = LogMel(rate, mean, deviation)

    def body(self, x: Tensor) -> Tensor:
        """Features (N, 4 width)."""
        return super().body(self.front(x))


class M5(nn.Module):
    """Four convolutions over the waveform, normalised, each with a pooling by 4 (Dai et al. 2017, arXiv 1610.00087).

    Args:
        rate: samples a second: the first convolution is 10 ms long, 80 samples at the paper's 8 kHz.
        width: of the first two layers, twice and four times as many in the others; 128 in the paper.
        classes: how many.
        mean, deviation: not used.
    """

    def __init__(self, rate: int, width: int, classes: int, mean: float, deviation: float) -> None:
        super().__init__()
        first = max(4, round(0.01 * rate))
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        before = 1
        for place, after in enumerate((width, width, 2 * width, 4 * width)):
            size, stride = (first, max(1, first // 20)) if place == 0 else (3, 1)
            self.convs.append(nn.Conv1d(before, after, size, stride, padding=size // 2, bias=False))
            self.norms.append(nn.BatchNorm1d(after))
            before = after
        self.head = nn.Linear(before, classes)
        self.pairs: Pairs = [(f"convs.{index}", f"norms.{index}") for index in range(4)]

    def body(self, x: Tensor) -> Tensor:
        """Features (N, 4 width); poolings stop where nothing is left to pool."""
        x = x[:, None]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = functional.relu(convolved(conv, norm, x))
            x = functional.max_pool1d(x, 4) if x.shape[2] >= 4 else x
        return x.mean(2)


CONTEXTS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
"""Frames that each layer of an X-vector network sees, and the distance between them."""


class XVector(nn.Module):
    """Layers over frames of log-mel bands, mean and deviation over time, two layers over the whole (Snyder et al. 2018,
    doi 10.1109/ICASSP.2018.8461375).

    Args:
        rate: samples a second.
        width: of the frame layers, the last of which has three times as many, and of the two others; 512 in the paper.
        classes: how many.
        mean, deviation: of log-mel bands.
    """

    def __init__(self, rate: int, width: int, classes: int, mean: float, deviation: float) -> None:
        super().__init__()
        self.front = LogMel(rate, mean, deviation)
        sizes = (BANDS, width, width, width, width, 3 * width)
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for (before, after), (size, distance) in zip(pairwise(sizes), CONTEXTS, strict=True):
            padding = distance * (size // 2)
            self.convs.append(nn.Conv1d(before, after, size, padding=padding, dilation=distance, bias=False))
            self.norms.append(nn.BatchNorm1d(after))
        self.segments = nn.ModuleList([nn.Linear(6 * width, width), nn.Linear(width, width)])
        self.segment_norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(2))
        self.head = nn.Linear(width, classes)
        self.pairs: Pairs = [(f"convs.{index}", f"norms.{index}") for index in range(5)]
        self.pairs += [(f"segments.{index}", f"segment_norms.{index}") for index in range(2)]

    def body(self, x: Tensor) -> Tensor:
        """Features (N, width): the embedding of a speaker."""
        x = self.front(x)[:, 0]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = functional.relu(convolved(conv, norm, x))
        deviation = (x - x.mean(2, keepdim=True)).square().mean(2).add(1e-6).sqrt()
        x = torch.cat([x.mean(2), deviation], 1)
        for layer, norm in zip(self.segments, self.segment_norms, strict=True):
            x = functional.relu(norm(layer(x)))
        return x


NETWORKS: dict[str, tuple[type[LogMelCNN] | type[M5] | type[XVector], int]] = {
    "log-mel-cnn": (LogMelCNN, 8),
    "m5": (M5, 16),
    "x-vector": (XVector, 48),
}
"""Architecture -> class and its usual width."""


def log_mel_statistics(x: Tensor, rate: int) -> tuple[float, float]:
    """Mean and deviation of the log-mel bands of waveforms (N, S), to four decimals.

    >>> mean, deviation = log_mel_statistics(torch.zeros(2, 800), 8000)
    >>> round(mean, 2), deviation
    (-13.82, 0.001)
    """
    with torch.no_grad():
        found = LogMel(rate, 0.0, 1.0)(x)
    return round(float(found.mean()), 4), round(max(1e-3, float(found.std())), 4)
