"""The training of classifiers beside a bare PyTorch loop on the same network: part of `benchmarks/throughput.py`."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from bdm_core.context import Context
from bdm_kit_classification.built_in import BUILTIN
from bdm_kit_classification.data.built_in_data import load_builtin
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.models.image_classifiers import open_image_classifier
from bdm_kit_classification.training.fitting import fit
from bdm_kit_classification.training.params import ClassifierTraining

MODELS = {"mnist-cnn": "mnist-5k", "colour-digits-cnn": "colour-digits"}
"""Built-in models and their data."""


def prepared(name: str, steps: int, batch: int) -> tuple[Classifier, LabelledSamples, ClassifierTraining]:
    """A built-in classifier, as many rows as one epoch of so many steps has, and the parameters of the epoch."""
    parts = load_builtin(MODELS[name])
    pictures, labels = parts.training
    rows = torch.arange(steps * batch) % len(labels)
    samples = LabelledSamples(pictures[rows], labels[rows], parts.classes, "image-classification")
    return open_image_classifier(BUILTIN / name), samples, ClassifierTraining(epochs=1, batch_size=batch)


def ours(classifier: Classifier, samples: LabelledSamples, params: ClassifierTraining, device: str) -> None:
    """The kit's loop, as a stage calls it, its checkpoint at the end included."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        fit(Context(out=work, work=work, seed=0, device=device), classifier, samples, params)


def bare(classifier: Classifier, samples: LabelledSamples, params: ClassifierTraining, device: str) -> None:
    """The same without the kit: nothing but PyTorch."""
    options = params.options(len(samples))
    classifier.to(device).train()
    pictures, labels = samples.stored.to(device), samples.labels.to(device)
    optimizer: Any = torch.optim.SGD(
        classifier.parameters(), lr=options.learning_rate, momentum=params.momentum, weight_decay=params.weight_decay
    )
    order = torch.randperm(len(labels), device=device)
    for step in range(options.steps):
        optimizer.param_groups[0]["lr"] = options.rate(step)
        rows = order[step * params.batch_size : (step + 1) * params.batch_size]
        loss = functional.cross_entropy(classifier(pictures[rows].float() / 255), labels[rows])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def pair(classifier: Classifier) -> tuple[Classifier, Classifier]:
    """Two of them."""
    return classifier, copy.deepcopy(classifier)
