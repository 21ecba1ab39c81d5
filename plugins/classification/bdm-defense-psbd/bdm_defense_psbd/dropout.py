"""Prediction shift uncertainty (Li et al., PSBD, 2024, arXiv 2406.05826).

With dropout in a trained network the predictions of clean rows shift, mostly to one class, while those of poisoned rows
are to stay. Of a row whose class without dropout is c, the uncertainty is P_c without dropout less the mean of P_c
over passes with it. Of the rates at which 80 % of clean rows change their class, or of all if there is none, the one is
taken at which most more clean rows than training rows do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.feature_maps import watched
from bdm_kit_classification.models.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Shift:
    """Uncertainty (N,) in [-1, 1] of the rows, and the share of them whose class changed, on average over passes."""

    uncertainty: Tensor
    changed: float


def uncertainties(plain: Tensor, dropped: Sequence[Tensor]) -> Shift:
    """From probabilities without dropout (N, K), and with it, one of (N, K) for each pass."""
    classes = plain.argmax(1, keepdim=True)
    kept = torch.stack([part.gather(1, classes)[:, 0] for part in dropped]).mean(0)
    changed = torch.stack([(part.argmax(1, keepdim=True) != classes).double().mean() for part in dropped])
    return Shift((plain.gather(1, classes)[:, 0] - kept).double(), float(changed.mean()))


def probabilities(
    classifier: Classifier, samples: LabelledSamples, layers: list[nn.Module], rate: float, seed: int
) -> Tensor:
    """Probabilities (N, K) with a share ``rate`` of the outputs of the layers zero and the others scaled up."""
    generator = torch.Generator().manual_seed(seed % 2**63)

    def drop(module: nn.Module, given: Tensor, made: Tensor) -> Tensor:
        kept = torch.rand(made.shape, generator=generator).to(made.device) >= rate
        return made * kept / (1 - rate)

    found = []
    classifier.eval()
    with watched(layers, drop), torch.inference_mode():
        for _, raw in samples.split():
            found.append(classifier(samples.modality.collate(raw, classifier)).softmax(1).cpu())
    return torch.cat(found)


def chosen_rate(rates: Sequence[float], clean: Sequence[float], suspects: Sequence[float], wanted: float) -> int:
    """Which of the rates to take, by the shares of clean rows and of training rows whose class changes.

    Of equally good ones the least.

    >>> chosen_rate([0.2, 0.4, 0.6], [0.1, 0.8, 0.9], [0.1, 0.78, 0.8], 0.8)
    2
    >>> chosen_rate([0.2, 0.4, 0.6], [0.1, 0.4, 0.6], [0.1, 0.2, 0.5], 0.8)
    1
    """
    order = sorted(range(len(rates)), key=lambda place: rates[place])
    reached = [place for place in order if clean[place] >= wanted]
    return max(reached or order, key=lambda place: clean[place] - suspects[place])
