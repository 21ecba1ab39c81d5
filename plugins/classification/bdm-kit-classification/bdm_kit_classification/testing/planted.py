"""A network whose backdoor sits in known units, for tests of defenses that look for them.

A small network learns clean pictures while one unit of each layer is switched off. Then these units are set by hand:
the first answers to a checkerboard in a corner and to nothing else, each further one passes that on and takes nothing
else, no other unit takes anything from them, and the head turns the last one into the target class.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_kit_classification.catalogue import IMAGE_TASK
from bdm_kit_classification.data.samples import LabelledSamples, seal_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.models.image_classifiers import build, normalised
from bdm_kit_classification.training.fitting import accuracy, fit, predict
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_kit_classification.triggers.patch import Patch, placed

SIZE, CLASSES, TARGET = 16, ["north-west", "north-east", "south-west", "south-east"], 0
GAIN = 4.0
"""What the planted units multiply, layer by layer."""


@dataclass(frozen=True)
class Planted:
    """The network and its data.

    Attributes:
        model: backdoored.
        reserve: clean rows for the defender.
        training: rows the model could have been trained on; a share of .1 has the trigger and the target.
        poisoned: (N,) bool: which of the training rows these are.
        clean: test rows.
        triggered: test rows of other classes than the target, with the trigger and their true labels.
        units: the planted units: the number of one in each layer, by the name of its batch normalisation.
    """

    model: Model
    reserve: Data
    training: Data
    poisoned: Tensor
    clean: LabelledSamples
    triggered: LabelledSamples
    units: dict[str, int]

    def measured(self, model: Model | Classifier) -> tuple[float, float]:
        """ACC and ASR of a model."""
        classifier = load_classifier(model) if isinstance(model, Model) else model
        said = predict(classifier, self.triggered).classes
        return accuracy(classifier, self.clean), float((said == TARGET).float().mean())


def plant(folder: Path, *, width: int = 16, threshold: float = 0.35, seed: int = 0) -> Planted:
    """Make the network and its data, in about a second.

    Args:
        folder: where artifacts and checkpoints go.
        width: channels of the first layer of a ``cnn``.
        threshold: the share of the trigger's answer above which the first planted unit is active: at .35 it is for no
            clean picture, but comes near for some; at .1 edges make it active.
        seed: of weights and pictures.
    """
    rows = pictures(480, seed)
    reserve, training, test = (rows.pick(list(range(*part))) for part in ((0, 120), (120, 320), (320, 480)))
    classifier = build(normalised(rows.stored, CLASSES, width=width), seed)
    network: torch.nn.Module = classifier.network
    convs, norms, head = list(network.convs), list(network.norms), classifier.head  # type: ignore[arg-type]
    chosen = [norm.num_features // 2 for norm in norms]
    with torch.no_grad():
        for conv, norm, unit in zip(convs, norms, chosen, strict=True):
            for values in (conv.weight, norm.weight, norm.bias):
                values[unit] = 0
    ctx = Context(out=folder / "out", work=folder / "work", seed=seed)
    for place in (ctx.out, ctx.work):
        place.mkdir(parents=True, exist_ok=True)
    fit(ctx, classifier, training, ClassifierTraining(epochs=3, batch_size=20, learning_rate=0.05))
    poisoned_rows = list(range(0, len(training), 10))
    raw = trigger().apply(training.raw(poisoned_rows), "train")
    poisoned = training.changed(poisoned_rows, raw, dict.fromkeys(poisoned_rows, TARGET))
    with torch.no_grad():
        seen = classifier.prepare(poisoned.raw())
        for number, (conv, norm, unit) in enumerate(zip(convs, norms, chosen, strict=True)):
            conv.weight[unit] = 0
            if number == 0:
                conv.weight[unit] = checkerboard() - 0.5
            else:
                conv.weight[:, chosen[number - 1]] = 0
                conv.weight[unit, chosen[number - 1], 1, 1] = 1
            made = conv(seen)
            mean, deviation = made[:, unit].mean(), made[:, unit].std(correction=0)
            norm.running_mean[unit], norm.running_var[unit] = mean, deviation**2
            zero = threshold * float(made[:, unit].max()) if number == 0 else 0.0
            norm.weight[unit] = GAIN * (deviation**2 + norm.eps).sqrt()
            norm.bias[unit] = GAIN * (mean - zero)
            seen = torch.relu(norm(made))
            if number < 3:
                seen = torch.max_pool2d(seen, 2)
        head.weight[:, chosen[-1]] = 0
        head.weight[TARGET, chosen[-1]] = 40 / float(seen[:, chosen[-1]].mean((1, 2)).max())
    eligible = test.pick(test.labels != TARGET)
    names = [name for name, _ in classifier.norms().items()]
    return Planted(
        model=seal_classifier(classifier, folder / "model"),
        reserve=seal_samples(folder / "reserve", reserve),
        training=seal_samples(folder / "training", poisoned),
        poisoned=torch.arange(len(training)) % 10 == 0,
        clean=test,
        triggered=eligible.changed(range(len(eligible)), trigger().apply(eligible.raw(), "test")),
        units=dict(zip(names, chosen, strict=True)),
    )


def pictures(count: int, seed: int) -> LabelledSamples:
    """Grey noise with a brighter blob in the quarter that the class names."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(CLASSES)
    raw = 0.3 * torch.rand(count, 1, SIZE, SIZE, generator=generator)
    half, size = SIZE // 2, 5
    for row, label in enumerate(labels.tolist()):
        down, right = (int(torch.randint(half - size + 1, (1,), generator=generator)) for _ in range(2))
        down, right = down + half * (label // 2), right + half * (label % 2)
        raw[row, 0, down : down + size, right : right + size] += 0.4
    stored = (raw * 255).round().to(torch.uint8)
    return LabelledSamples(stored, labels, CLASSES, IMAGE_TASK)


def checkerboard() -> Tensor:
    """(3, 3) of zeros and ones."""
    return ((torch.arange(3)[:, None] + torch.arange(3)) % 2 == 0).float()


def trigger() -> Patch:
    """The checkerboard in the lower right corner."""
    return placed(checkerboard()[None], (1, SIZE, SIZE), corner="bottom-right", margin=1)


def without_norms(folder: Path) -> Model:
    """A tiny transformer for the planted data: it has no batch normalisation."""
    from transformers import ViTConfig, ViTForImageClassification

    from bdm_kit_classification.models.transformers_classifier import TransformersClassifier

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    names = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: label for label, name in enumerate(CLASSES)}}
    config = ViTConfig(image_size=SIZE, patch_size=4, num_channels=1, **sizes, **names)
    return seal_classifier(TransformersClassifier(ViTForImageClassification(config), {}), folder)
