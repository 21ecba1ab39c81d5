"""A classifier as a function from raw samples to logits: as a black box, or with its weights at hand.

Detectors of inputs change samples a thousand times over and look at predictions; they need not know which of the two it
is that answers.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_kit_classification.data.samples import INPUTS, UNKNOWN, LabelledSamples, seal_samples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.predictions import load_predictions
from bdm_kit_classification.training.fitting import predict

AT_ONCE = 4096
"""Changed samples that are made and asked about at once, at most, unless one sample has more."""


class Oracle(ABC):
    """Answers with logits.

    Attributes:
        asked: about how many samples.
    """

    def __init__(self) -> None:
        self.asked = 0

    def logits(self, like: LabelledSamples, raw: Any) -> Tensor:
        """Logits (n, K), float32, of n raw samples; at the precision of files, as at a model that is in use.

        Args:
            like: samples of the same task and classes.
            raw: as its modality has raw samples; pictures (n, C, H, W) in [0, 1].
        """
        stored = like.modality.pack(raw)
        labels = torch.full((len(stored),), UNKNOWN)
        self.asked += len(labels)
        return self._answer(replace(like, stored=stored, labels=labels, facts=[]))

    @abstractmethod
    def _answer(self, samples: LabelledSamples) -> Tensor: ...


class BlackBox(Oracle):
    """Asks by ``ctx.query``, for the access ``predictions``.

    >>> from pathlib import Path
    >>> from bdm_kit_classification.predictions import seal_predictions
    >>> from bdm_kit_classification.training.fitting import Predictions
    >>> from bdm_kit_classification.data.samples import open_samples
    >>> def model(inputs):
    ...     samples = open_samples(inputs)
    ...     light = samples.raw().mean((1, 2, 3))
    ...     found = Predictions(torch.stack([-light, light], 1), torch.zeros(len(samples), 1))
    ...     return seal_predictions(Path("answer"), found, samples)
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0, on_query=model)
    >>> like = LabelledSamples(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([0]), ["dark", "light"],
    ...                        "image-classification")
    >>> box = BlackBox(ctx)
    >>> box.logits(like, torch.ones(2, 1, 8, 8)).tolist(), box.asked
    ([[-1.0, 1.0], [-1.0, 1.0]], 2)
    """

    def __init__(self, ctx: Context) -> None:
        super().__init__()
        self._ctx, self._calls = ctx, 0

    def _answer(self, samples: LabelledSamples) -> Tensor:
        self._calls += 1
        folder = self._ctx.work / f"ask-{self._calls:05d}"
        if folder.exists():  # of a process that was killed
            shutil.rmtree(folder)
        found = load_predictions(self._ctx.query(seal_samples(folder, samples, format=INPUTS))).logits
        shutil.rmtree(folder)
        return found


class Known(Oracle):
    """Runs a classifier, for the access ``weights``."""

    def __init__(self, classifier: Classifier, batch_size: int = 256) -> None:
        super().__init__()
        self.classifier, self.batch_size = classifier, batch_size

    def _answer(self, samples: LabelledSamples) -> Tensor:
        return predict(self.classifier, samples, self.batch_size).logits


def repeated(samples: LabelledSamples, rows: list[int], times: int) -> Any:
    """Raw samples of these rows, each ``times`` times in a row.

    >>> rows = LabelledSamples(torch.tensor([[[[0]]], [[[255]]]], dtype=torch.uint8), torch.tensor([0, 1]), ["a", "b"],
    ...                        "image-classification")
    >>> repeated(rows, [1, 0], 2).flatten().tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    return samples.raw([row for row in rows for _ in range(times)])
