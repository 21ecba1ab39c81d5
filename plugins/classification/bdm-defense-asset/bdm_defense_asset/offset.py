"""Active separation via offset (Pan et al., USENIX Security 2023, arXiv 2302.11408).

The model goes on training: the loss of clean rows falls and that of training rows rises. Of clean rows among the latter
the two goals cancel out; only poisoned rows have no counterpart, and their loss rises. An inner network that tells
training rows from clean ones by what the model says of them concentrates the poison in each batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.context import Context
from bdm_defense_asset.params import AssetParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import predict
from bdm_torch.draws import built_with_seed, step_seed

LABEL_SCALE = 5.0
"""One-hot labels times this beside the logits, which are of that size, say what a row is to be."""
HIDDEN = 32
RATE = 0.01
GRADIENT_NORM = 1.0
DENSITY = 1e-6


def unlike(training: Tensor, clean: Tensor, share: float, steps: int, seed: int) -> Tensor:
    """The rows of ``training`` (n, D) that a small network finds least like ``clean`` ones (m, D): numbers, best first.

    Clean rows of both cannot be told apart, so that the network's answer is highest for what the clean ones lack.
    """
    centre, spread = clean.mean(0), clean.std(0, correction=0) + 1e-3
    first, second = (training - centre) / spread, (clean - centre) / spread
    network = built_with_seed(
        seed, lambda: nn.Sequential(nn.Linear(first.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for _ in range(steps):
        loss = functional.softplus(-network(first)).mean() + functional.softplus(network(second)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return network(first)[:, 0].topk(max(1, round(share * len(first)))).indices


def offset_loss(clean: Tensor, training: Tensor, highest: float) -> Tensor:
    """Mean loss of clean rows, and how far those of training rows, (n,) each, are below the highest wanted."""
    return clean.mean() + (highest - training).clamp_min(0).mean()


def separate(
    ctx: Context, params: AssetParams, classifier: Classifier, rows: LabelledSamples, clean: LabelledSamples
) -> None:
    """Train in place.

    Batch normalisation keeps its statistics: with those of the batch, poisoned rows would change them for all.
    """
    optimizer = torch.optim.SGD(classifier.parameters(), lr=params.offset_learning_rate, momentum=0.9)
    collate, device, losses = rows.modality.collate, classifier.device, []
    classifier.eval()

    def described(logits: Tensor, labels: Tensor) -> Tensor:
        named = functional.one_hot(labels, logits.shape[1])
        return torch.cat([logits.detach(), LABEL_SCALE * named], 1).cpu().float()

    for step in range(params.offset_steps):
        chance = torch.Generator().manual_seed(step_seed(ctx.seed, step, "offset"))
        known = torch.randint(len(clean), (params.offset_batch,), generator=chance)
        drawn = torch.randperm(len(rows), generator=chance)[: params.pool * params.offset_batch]
        with torch.no_grad():
            of_known = classifier(collate(clean.raw(known), classifier))
            of_drawn = classifier(collate(rows.raw(drawn), classifier))
        picked = unlike(
            described(of_drawn, rows.labels[drawn].to(device)),
            described(of_known, clean.labels[known].to(device)),
            params.concentrated,
            params.concentration_steps,
            step_seed(ctx.seed, step, "concentration"),
        )
        chosen = drawn[picked]
        inputs = torch.cat([collate(clean.raw(known), classifier), collate(rows.raw(chosen), classifier)])
        labels = torch.cat([clean.labels[known], rows.labels[chosen]]).to(device)
        each = functional.cross_entropy(classifier(inputs), labels, reduction="none")
        loss = offset_loss(each[: len(known)], each[len(known) :], params.highest_loss)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(classifier.parameters(), GRADIENT_NORM)
        optimizer.step()
        losses.append(float(loss.detach()))
        ctx.progress("offset", step + 1, params.offset_steps, losses[-1])
    ctx.curve("offset loss", losses)


def loss_of(classifier: Classifier, samples: LabelledSamples) -> Tensor:
    """The cross entropy of each row with its label, (N,) float64."""
    return functional.cross_entropy(predict(classifier, samples).logits.double(), samples.labels, reduction="none")


def mixture_threshold(losses: Tensor, seed: int) -> float:
    """Where the upper of two normal distributions that are fitted to the losses (N,) becomes the likelier one."""
    values = losses.numpy()[:, None]
    found = GaussianMixture(2, random_state=seed % 2**32).fit(values)
    low, high = np.sort(found.means_[:, 0])
    places = np.linspace(low, high, 1000)
    upper = found.predict_proba(places[:, None])[:, int(found.means_[:, 0].argmax())]
    return float(places[int((upper > 0.5).argmax())])


def density_threshold(losses: Tensor, density: float = DENSITY) -> float:
    """Where the density of the normal distribution of the lower half of the losses (N,) has fallen to a number.

    >>> losses = torch.tensor([0.0, 1.0, 2.0, 50.0, 60.0])
    >>> 5 < density_threshold(losses) < 6
    True
    """
    lower = losses[losses <= losses.quantile(0.5, interpolation="lower")]
    spread = max(float(lower.std(correction=0)), 1e-9)
    return float(lower.mean()) + spread * math.sqrt(max(0.0, -2 * math.log(density * spread * math.sqrt(2 * math.pi))))
