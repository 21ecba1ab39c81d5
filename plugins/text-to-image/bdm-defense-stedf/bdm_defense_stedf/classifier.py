"""The classifier: layers of linear maps, trained by binary cross-entropy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_defense_stedf.params import StedfParams

Logits = Callable[[Tensor], Tensor]
"""Features (N, F) -> (N,), higher for a trigger."""


def train_classifier(clean: Tensor, triggered: Tensor, params: StedfParams, seed: int) -> Logits:
    """Train on features of clean prompts (K, F) against those of triggered ones (M, F); equal seeds, equal classifiers.

    Features are standardised by those of all training prompts; both classes weigh the same.
    """
    features = torch.cat([clean, triggered]).float()
    labels = torch.cat([torch.zeros(len(clean)), torch.ones(len(triggered))])
    mean, spread = features.mean(0), features.std(0).clamp(min=1e-6)
    weight = torch.tensor(len(clean) / len(triggered))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        network = _layers(features.shape[1], params).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=params.learning_rate)
        for _ in range(params.training_steps):
            rows = torch.randint(len(features), (params.training_batch,))
            found = network((features[rows] - mean) / spread)[:, 0]
            loss = functional.binary_cross_entropy_with_logits(found, labels[rows], pos_weight=weight)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    network.eval().requires_grad_(False)

    def logits(values: Tensor) -> Tensor:
        answer: Tensor = network((values.float() - mean) / spread)[:, 0]
        return answer

    return logits


def area(triggered: Tensor, clean: Tensor) -> float:
    """AUROC: the chance that a triggered prompt's score (M,) is above a clean one's (K,), ties half.

    >>> area(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0]))
    0.75
    """
    difference = triggered[:, None] - clean[None]
    return float(((difference > 0).double() + 0.5 * (difference == 0).double()).mean())


def _layers(width: int, params: StedfParams) -> nn.Sequential:
    layers: list[nn.Module] = []
    for out in params.widths:
        layers += [nn.Linear(width, out), nn.ReLU(), nn.Dropout(params.dropout)]
        width = out
    return nn.Sequential(*layers, nn.Linear(width, 1))
