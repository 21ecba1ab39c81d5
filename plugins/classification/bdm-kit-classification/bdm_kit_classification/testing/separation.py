"""How well a detector separates rows with the planted trigger, and rows with shuffled flags."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Outputs
from bdm_core.plugin import Defense
from bdm_core.records import Detection
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import INPUTS, open_samples, seal_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.params import ClassificationKitParams
from bdm_kit_classification.predictions import seal_predictions
from bdm_kit_classification.testing.planted import Planted
from bdm_kit_classification.training.fitting import predict

INPUTS_TRIGGERED = 40
"""Of the inputs that :func:`judge_planted` hands over beside the clean test rows."""


@dataclass(frozen=True)
class Separation:
    """F1 of flags, and the mean over twenty shuffles of the planted rows: what flags that know nothing would have.

    With a share p of planted rows and a share q of flagged ones the second is about 2 p q / (p + q).
    """

    f1: float
    shuffled: float


def separation(flagged: Tensor, planted: Tensor) -> Separation:
    """Of flags (N,) bool against the rows (N,) bool that are planted.

    >>> planted = torch.arange(100) < 20
    >>> found = separation(planted, planted)
    >>> found.f1, 0.1 < found.shuffled < 0.3
    (1.0, True)
    """

    def f1(truth: Tensor) -> float:
        return 2 * int((flagged & truth).sum()) / max(1, int(flagged.sum() + truth.sum()))

    shuffles = [torch.randperm(len(planted), generator=torch.Generator().manual_seed(seed)) for seed in range(20)]
    return Separation(f1(planted), sum(f1(planted[order]) for order in shuffles) / len(shuffles))


def judge_planted(defense: Defense, planted: Planted, folder: Path, **params: Any) -> Separation:
    """Let a detector of rows judge the planted training rows, or one of inputs the test rows and forty triggered ones.

    Args:
        defense: with ``detect``; it gets what the hook asks for, and a black box.
        planted: see :func:`bdm_kit_classification.testing.planted.plant`.
        folder: where the detector writes.
        params: of the defense.
    """
    if defense.level == "data":
        suspects, flags = planted.training, planted.poisoned
    else:
        triggered = planted.triggered.pick(range(INPUTS_TRIGGERED))
        stored = torch.cat([planted.clean.stored, triggered.stored])
        labels = torch.cat([planted.clean.labels, triggered.labels])
        samples = replace(triggered, stored=stored, labels=labels, facts=[])
        suspects = seal_samples(folder / "suspects", samples, format=INPUTS)
        flags = torch.arange(len(labels)) >= len(planted.clean)
    ctx = new_context(folder / "run", 0, "detect", kit=ClassificationKitParams(), on_query=asking(planted, folder))
    given = {"model": planted.model, "data": planted.reserve, "suspects": suspects}
    asked = {name: value for name, value in given.items() if name in inspect.signature(defense.detect).parameters}
    found: Detection = defense.detect(ctx=ctx, params=defense.Params(**params), **asked)
    return separation(torch.tensor(found.scores, dtype=torch.float64) > found.threshold, flags)


def asking(planted: Planted, folder: Path) -> Callable[[Data], Outputs]:
    """The planted network as a black box."""
    classifier, answers = load_classifier(planted.model), [0]

    def ask(inputs: Data) -> Outputs:
        answers[0] += 1
        samples = open_samples(inputs)
        return seal_predictions(folder / f"answer-{answers[0]}", predict(classifier, samples), samples)

    return ask
