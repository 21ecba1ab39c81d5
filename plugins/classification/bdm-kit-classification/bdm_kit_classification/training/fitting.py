"""One training loop for every classifier, with plain callables for what attacks and defenses change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.noise.drawing import require_settled
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_kit_classification.training.recorder import LossRecorder
from bdm_kit_classification.training.shared_statistics import shared_statistics
from bdm_torch.draws import Draw
from bdm_torch.objective import Along, Objective, StepRule
from bdm_torch.training import TrainingOptions, TrainingResult, train_in_stage


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of one step, on the device.

    Attributes:
        inputs: as the classifier takes them; pictures (b, C, H, W) float32 in [0, 1], before augmentation.
        labels: (b,) int64, or soft labels (b, K).
        rows: (b,) int64 on the CPU: which rows of the data they are.
    """

    inputs: Tensor
    labels: Tensor
    rows: Tensor


ChangeBatch = Callable[[Batch, Draw], Batch]
"""change(batch, draw): the batch that is trained on; random numbers come from ``draw``."""
BatchLoss = Callable[[nn.Module, Batch, Draw], Tensor]
"""loss(classifier, batch, draw): the mean loss of the augmented batch, a scalar. ``classifier(inputs)`` gives logits;
under several processes it is wrapped, so that other methods are those of the classifier that was given to ``fit``."""


@dataclass(frozen=True)
class Changes:
    """What an attack or a defense changes in the loop; everything is optional.

    Attributes:
        batch: changes each batch before augmentation: triggers, labels, further rows.
        loss: replaces cross entropy.
        along: modules trained along, by name (:class:`bdm_torch.objective.Along`).
        step: makes each step (:class:`bdm_torch.objective.Step`): sharpness-aware steps, alternation.
        after_step: called with the step's number after each step.
        recorder: keeps the loss of each sample in each epoch; only without a loss of your own, which may call
            ``recorder.record`` itself.
        evaluation_mode: train in evaluation mode: batch normalisation uses and keeps its statistics.
        state: further tensors that the callables change in place, by name; part of the checkpoint.
        until: it ends after so many steps, at the rates of the whole training; None: after all.
    """

    batch: ChangeBatch | None = None
    loss: BatchLoss | None = None
    along: Mapping[str, Along] = field(default_factory=dict)
    step: StepRule | None = None
    after_step: Callable[[int], None] | None = None
    recorder: LossRecorder | None = None
    evaluation_mode: bool = False
    state: Mapping[str, Tensor] = field(default_factory=dict)
    until: int | None = None


def fit(
    ctx: Context,
    classifier: Classifier,
    samples: LabelledSamples,
    params: ClassifierTraining,
    changes: Changes | None = None,
    *,
    label: str = "train",
) -> TrainingResult:
    """Train a classifier in place on labelled samples, within a stage.

    Seed, device, checkpoints and progress are the context's: a stage that was killed continues with the same bits. The
    loss curve goes to the report under ``label``. Several processes (``accelerate launch``) give what one gives, up to
    rounding: batch normalisation sees the batches of all.

    Args:
        ctx: of the stage.
        classifier: trained in place; in evaluation mode and on the stage's device afterwards.
        samples: training rows with labels.
        params: epochs, rates, augmentation.
        changes: what differs from plain training.
        label: names checkpoint, progress and curve; different for two trainings of one stage.

    Raises:
        StageError: the loss is no longer finite.
        UserError: noise waits for the rows of an attack.
        UserError, PluginError: as :func:`bdm_torch.training.train`.

    >>> from pathlib import Path
    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> params = ClassifierTraining(epochs=2, batch_size=5, shift=1)
    >>> seen = []
    >>> result = fit(ctx, classifier, rows, params, Changes(after_step=seen.append))
    >>> len(result.losses) == len(seen) == params.steps(len(rows)), classifier.training
    (True, False)
    """
    require_settled(samples)
    changes = changes or Changes()
    recorder, modality = changes.recorder, samples.modality

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(samples))
        inputs = modality.collate(samples.raw(rows), classifier)
        batch = Batch(inputs, samples.labels[rows].to(inputs.device), rows)
        if changes.batch is not None:
            batch = changes.batch(batch, draw)
        if params.shift or params.flip:
            batch = replace(batch, inputs=modality.augment(batch.inputs, draw, params.shift, params.flip))
        if changes.loss is not None:
            return changes.loss(model, batch, draw)
        each = functional.cross_entropy(
            model(batch.inputs), batch.labels, reduction="none", label_smoothing=params.label_smoothing
        )
        if recorder is not None:
            places = torch.arange(draw.batch_size)[draw.share] + draw.step * draw.batch_size
            recorder.record(places // len(samples), batch.rows, each)  # a batch may begin the next epoch
        return each.mean()

    state = {**changes.state, **({"recorded": recorder.losses} if recorder is not None else {})}
    objective = Objective(loss, changes.along, changes.step, changes.after_step, state)
    options: TrainingOptions = replace(
        params.options(len(samples), classifier.suited),
        evaluation_mode=changes.evaluation_mode,
        until=changes.until,
    )
    with shared_statistics(classifier):
        return train_in_stage(ctx, classifier, objective, options, label=label, curve=f"{label} loss")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier says: logits (N, K) and penultimate features (N, F), float32 on the CPU."""

    logits: Tensor
    features: Tensor

    @property
    def classes(self) -> Tensor:
        """The predicted class of each sample, (N,) int64."""
        return self.logits.argmax(1)


def predict(classifier: Classifier, samples: LabelledSamples, batch_size: int = 256) -> Predictions:
    """Logits and features of all samples, in evaluation mode and without gradients.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> pictures = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    >>> found = predict(classifier, LabelledSamples(pictures, torch.zeros(3), ["a", "b"], "image-classification"))
    >>> found.logits.shape, found.features.shape, found.classes.shape
    (torch.Size([3, 2]), torch.Size([3, 64]), torch.Size([3]))
    """
    training = classifier.training
    classifier.eval()
    logits, features = [], []
    with torch.inference_mode():
        for _, raw in samples.split(batch_size):
            inputs = samples.modality.collate(raw, classifier)
            seen = classifier.features(inputs)
            features.append(seen.float().cpu())
            logits.append(classifier.head(seen).float().cpu())
    classifier.train(training)
    if not logits:
        shape = classifier.head.weight.shape
        return Predictions(torch.zeros(0, shape[0]), torch.zeros(0, shape[1]))
    return Predictions(torch.cat(logits), torch.cat(features))


def accuracy(classifier: Classifier, samples: LabelledSamples) -> float:
    """Share of samples whose predicted class is their label.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> accuracy(classifier, replace(rows, labels=predict(classifier, rows).classes))
    1.0
    """
    return float((predict(classifier, samples).classes == samples.labels).float().mean())
