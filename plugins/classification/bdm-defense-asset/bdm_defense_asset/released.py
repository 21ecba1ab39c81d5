"""ASSET with the goals and the inner network of the authors' code: a new network, the variance of its logits, and the
features of the backdoored model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.context import Context
from bdm_defense_asset.params import AssetParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_torch.draws import built_with_seed, step_seed

HIDDEN, RATE = 128, 1e-4
OUTLYING = 2.0
"""Rows of a larger adjusted outlyingness are taken for poisoned."""


def medcouple(values: Tensor) -> Tensor:
    """How skewed numbers (N,) are, in [-1, 1] (Brys, Hubert and Struyf, 2004).

    The median of ((a - m) - (m - b)) / (a - b) over all pairs a >= m >= b, m being the median; pairs of two medians
    count as 0.

    >>> float(medcouple(torch.tensor([1.0, 2.0, 3.0]))), float(medcouple(torch.tensor([0.0, 1.0, 9.0]))) > 0
    (0.0, True)
    """
    centred = values.double() - values.double().quantile(0.5)
    above, below = centred[centred >= 0, None], centred[centred <= 0]
    pairs = (above + below) / (above - below).clamp_min(1e-300)
    return pairs.flatten().sort().values[[(pairs.numel() - 1) // 2, pairs.numel() // 2]].mean()


def outlyingness(values: Tensor) -> Tensor:
    """Adjusted outlyingness (N,) of numbers (N,): distance above the median in lengths of the upper whisker of a box
    plot for skewed numbers (Hubert and Vandervieren, 2008); below the median it is negative, in lengths of the lower.
    """
    ordered = values.double()
    low, middle, high = ordered.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    skew = medcouple(ordered)
    powers = (-4, 3) if float(skew) >= 0 else (-3, 4)
    whiskers = [1.5 * (high - low) * torch.exp(power * skew) for power in powers]
    lower, upper = middle - (low - whiskers[0]), high + whiskers[1] - middle
    return torch.where(ordered >= middle, (ordered - middle) / upper, (ordered - middle) / lower).nan_to_num(0.0)


def outlying(training: Tensor, clean: Tensor, steps: int, seed: int) -> Tensor:
    """Numbers of the rows of ``training`` (n, F) that a network, which learns to answer 1 to them and 0 to ``clean``
    ones (m, F), says 1 to far beyond the others.
    """
    network = built_with_seed(
        seed,
        lambda: nn.Sequential(
            nn.Linear(training.shape[1], HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 1),
            nn.Sigmoid(),
        ),
    )
    answer(network, training, clean, steps)
    with torch.no_grad():
        return (outlyingness(network(training)[:, 0]) > OUTLYING).nonzero().flatten()


def answer(network: nn.Module, training: Tensor, clean: Tensor, steps: int) -> None:
    """Train in place to answer 1 to ``training`` rows and 0 to ``clean`` ones, by turns: a step of either, each with an
    Adam of its own, ``steps`` times.
    """
    first, second = (torch.optim.Adam(network.parameters(), lr=RATE) for _ in range(2))
    for _ in range(steps):
        descend(first, (1 - network(training)).square().mean())
        descend(second, network(clean).square().mean())


def separated(
    ctx: Context, params: AssetParams, classifier: Classifier, rows: LabelledSamples, clean: LabelledSamples
) -> Classifier:
    """A new network of the classifier's architecture, trained in turns: the variance of its logits of clean rows falls,
    and the cross entropy of training rows that are :func:`outlying` in the classifier's features rises. Either has an
    Adam of its own.
    """
    made = classifier.fresh(ctx.seed)
    made.to(classifier.device).train()
    first, second = (torch.optim.Adam(made.parameters(), lr=params.offset_learning_rate) for _ in range(2))
    features, taken = features_of_batches(classifier), []
    for step in range(params.offset_steps):
        chance = torch.Generator().manual_seed(step_seed(ctx.seed, step, "offset"))
        known = torch.randint(len(clean), (params.offset_batch,), generator=chance)
        drawn = torch.randperm(len(rows), generator=chance)[: params.pool * params.offset_batch]
        inputs, known_inputs = (
            samples.modality.collate(samples.raw(numbers), made) for samples, numbers in ((rows, drawn), (clean, known))
        )
        descend(first, made(known_inputs).var(1).mean())
        seed = step_seed(ctx.seed, step, "concentration")
        picked = outlying(features(inputs), features(known_inputs), params.concentration_steps, seed)
        taken.append(float(len(picked)))
        if len(picked) > 1:
            labels = rows.labels[drawn[picked]].to(made.device)
            descend(second, -functional.cross_entropy(made(inputs[picked]), labels))
        ctx.progress("offset", step + 1, params.offset_steps, taken[-1])
    ctx.curve("rows taken for poisoned", taken)
    made.eval()
    return made


def features_of_batches(classifier: Classifier) -> Callable[[Tensor], Tensor]:
    """Features (b, F) on the CPU of inputs (b, ...), normalised by the statistics of these b rows, as released."""
    network = copy.deepcopy(classifier).eval()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.train()

    def features(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return network.features(inputs).float().cpu()

    return features


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
