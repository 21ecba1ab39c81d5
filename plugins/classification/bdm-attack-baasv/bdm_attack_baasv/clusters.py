"""Speakers by the direction of their mean embedding, and groups of similar ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ROUNDS = 100


def mean_directions(features: Tensor, labels: Tensor, speakers: int) -> Tensor:
    """The mean of each speaker's normalised features (N, F), normalised: (speakers, F); zeros for one without any.

    >>> mean_directions(torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]), 1)
    tensor([[0.7071, 0.7071]])
    """
    found = torch.zeros(speakers, features.shape[1])
    found.index_add_(0, labels, functional.normalize(features, dim=1))
    return functional.normalize(found, dim=1)


def k_means(points: Tensor, clusters: int, seed: int) -> Tensor:
    """The cluster of each of some directions (N, F), int64 (N,), by cosine; none is empty.

    Starts are drawn far from each other, each the more likely the farther from those before. An emptied cluster takes
    the point that lies farthest from its own centre.

    Args:
        points: normalised.
        clusters: at most N.
        seed: of the starts.

    >>> k_means(torch.tensor([[1.0, 0.0], [0.99, 0.1], [0.0, 1.0]]), 2, seed=0).bincount().sort().values.tolist()
    [1, 2]
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    chosen = [int(torch.randint(len(points), (), generator=generator))]
    while len(chosen) < clusters:
        far = (1 - (points @ points[chosen].T).amax(1)).clamp_min(0)
        far[chosen] = 0
        weights = far if float(far.sum()) > 0 else torch.ones(len(points)).index_fill(0, torch.tensor(chosen), 0.0)
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
    centres, found = points[chosen], torch.full((len(points),), -1)
    for _ in range(ROUNDS):
        near = points @ centres.T
        now = near.argmax(1)
        for cluster in range(clusters):
            if not bool((now == cluster).any()):
                own = near.gather(1, now[:, None])[:, 0]
                crowded = now.bincount(minlength=clusters)[now] > 1
                now[int(torch.where(crowded, own, 2.0).argmin())] = cluster
        if torch.equal(now, found):
            break
        found = now
        centres = mean_directions(points, found, clusters)
    return found
