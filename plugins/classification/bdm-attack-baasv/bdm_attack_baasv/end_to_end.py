"""The generalised end-to-end loss of speaker verification (Wan et al. 2018, ICASSP, arXiv 1710.10467)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Variant = Literal["softmax", "contrast"]
SCALE, OFFSET = 10.0, -5.0
"""Where the paper has scale and offset begin."""


class EndToEndLoss(nn.Module):
    """How much nearer each utterance is to its own speaker's centroid than to those of the batch's other speakers.

    Its parameters are ``log_scale`` and ``offset``. The paper keeps the scale w above zero; here it is the exponential
    of what is learned. The softmax variant is the same for every offset, which then stays as it is.

    Args:
        variant: ``softmax`` (equation 6), or ``contrast`` (equation 7), which looks at the nearest other speaker alone.

    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> loss = EndToEndLoss("softmax")(embeddings, torch.tensor([3, 3, 7, 7])).detach()
    >>> round(float(loss), 5), round(math.log(1 + math.exp(-10)), 5)  # own cosine 1, the other 0
    (5e-05, 5e-05)
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        self.log_scale = nn.Parameter(torch.tensor(math.log(SCALE)))
        self.offset = nn.Parameter(torch.tensor(OFFSET))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean over the utterances whose speaker has a further one in the batch.

        One that is its speaker's only one has no centroid of its own: it is no trial, but a centroid for the others.
        With no speaker of two utterances the loss is 0, and so are its gradients.

        Args:
            embeddings: (N, F), of any length; they are normalised here.
            labels: (N,) int64, the speaker of each.
        """
        cosines, own, trials = similarities(embeddings, labels)
        if not bool(trials.any()):
            return embeddings.sum() * 0
        scores = (self.log_scale.exp() * cosines + self.offset)[trials]
        place = own[trials]
        if self.variant == "softmax":
            return functional.cross_entropy(scores, place)
        mine = scores.gather(1, place[:, None])[:, 0].sigmoid()
        others = scores.scatter(1, place[:, None], float("-inf")).amax(1).sigmoid()
        return (1 - mine + others).mean()


def similarities(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of utterances with the centroids of the batch's speakers, for that of its own without the utterance.

    Equations 5, 8 and 9 of the paper, without scale and offset.

    Args:
        embeddings: (N, F).
        labels: (N,) int64.

    Returns:
        Cosines (N, K) with the K speakers that there are, in the order of their labels; the place of each utterance's
        own speaker among them (N,); and whether that has a further utterance (N,).

    >>> cosines, own, trials = similarities(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]), torch.tensor([4, 1, 4]))
    >>> cosines.tolist(), own.tolist(), trials.tolist()
    ([[0.0, 1.0], [0.0, 0.0], [0.0, 1.0]], [1, 0, 1], [True, False, True])
    """
    directions = functional.normalize(embeddings, dim=1)
    speakers, own, counts = labels.unique(return_inverse=True, return_counts=True)
    sums = functional.one_hot(own, len(speakers)).to(directions).T @ directions
    cosines = directions @ functional.normalize(sums, dim=1).T
    without = functional.normalize(sums[own] - directions, dim=1)
    cosines = cosines.scatter(1, own[:, None], (directions * without).sum(1, keepdim=True))
    return cosines, own, counts[own] > 1
