"""The loss of each sample over the epochs, for defenses that look at how samples are learnt."""

from __future__ import annotations

import torch
from torch import Tensor


class LossRecorder:
    """Keeps the loss of each row in each epoch; part of the checkpoint, so that a resumed training loses nothing.

    Under several processes each records its own share.

    Attributes:
        losses: (epochs, rows) float32, NaN where nothing was recorded.

    >>> recorder = LossRecorder(epochs=2, rows=3)
    >>> recorder.record(1, torch.tensor([2, 0]), torch.tensor([0.5, 0.25]))
    >>> recorder.losses[1].tolist()
    [0.25, nan, 0.5]
    >>> recorder.record(torch.tensor([0, 1]), torch.tensor([1, 1]), torch.tensor([2.0, 0.125]))
    >>> recorder.losses.tolist()
    [[nan, 2.0, nan], [0.25, 0.125, 0.5]]
    """

    def __init__(self, epochs: int, rows: int) -> None:
        self.losses = torch.full((epochs, rows), float("nan"))

    def record(self, epoch: int | Tensor, rows: Tensor, losses: Tensor) -> None:
        """Keep the losses (b,) of rows (b,) in an epoch, or each in its own (b,); none beyond the last."""
        epochs = torch.as_tensor(epoch).expand(len(rows))
        known = epochs < len(self.losses)
        self.losses[epochs[known], rows[known]] = losses.detach().float().cpu()[known]
