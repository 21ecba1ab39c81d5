"""The protocol of a classifier, and model folders in and out of artifacts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bdm_core.artifacts import Model
from bdm_kit_classification.modalities.registry import modality_of
from bdm_kit_classification.models.passes import counted

FORMAT = "classifier"


@dataclass(frozen=True, eq=False)
class PrunableLayer:
    """A layer whose output units can be pruned.

    Attributes:
        name: of the layer within the classifier, as ``named_modules`` has it.
        layer: a convolution or a linear map; its units are the first dimension of its weight.
        norm: the batch normalisation that sees this layer's output and nothing else, or None.
    """

    name: str
    layer: nn.Module
    norm: nn.BatchNorm2d | nn.BatchNorm1d | None

    @property
    def units(self) -> int:
        """How many output units it has."""
        return int(self.layer.weight.shape[0])

    def silence(self, units: list[int]) -> None:
        """Make the output of these units zero for good: behind the normalisation where there is one."""
        last = self.layer if self.norm is None else self.norm
        with torch.no_grad():
            for values in (self.layer.weight, self.layer.bias, last.weight, last.bias):
                if values is not None:
                    values[units] = 0


class Classifier(nn.Module, ABC):
    """A classifier of samples as its modality collates them: pictures (N, C, H, W) in [0, 1].

    Normalisation and resizing are part of it, so that gradients reach the samples as they are.

    Attributes:
        task: its task tag.
        classes: names of its classes, in the order of the logits.
        trained_on: the data it was trained on, as ``--data`` takes it; "" if unknown.
        suited: the optimiser that trains it if nobody chooses another, and what learning rates are multiplied by then:
            those of parameters are made for stochastic gradient descent.
    """

    task: str
    classes: list[str]
    trained_on: str = ""
    suited: tuple[Literal["sgd", "adam", "adamw"], float] = ("sgd", 1.0)

    def __init_subclass__(cls, **options: Any) -> None:
        """Let it count its passes (:mod:`bdm_kit_classification.models.passes`)."""
        super().__init_subclass__(**options)
        for name in {"forward", "features", "embedded_features"} & set(vars(cls)):
            setattr(cls, name, counted(getattr(cls, name)))

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.parameters()).device

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K), float32."""

    @abstractmethod
    def features(self, inputs: Tensor) -> Tensor:
        """Penultimate features (N, F): what the last linear map sees."""

    @property
    @abstractmethod
    def head(self) -> nn.Linear:
        """The last linear map, (K, F)."""

    @abstractmethod
    def prunable_layers(self) -> list[PrunableLayer]:
        """Layers whose output units can be pruned, from the input to the output, without the head."""

    def norms(self) -> dict[str, nn.BatchNorm2d]:
        """All batch normalisations by name, from the input to the output."""
        return {name: module for name, module in self.named_modules() if isinstance(module, nn.BatchNorm2d)}

    @abstractmethod
    def fresh(self, seed: int) -> Classifier:
        """A classifier of this architecture with new weights, drawn from the seed; on the CPU."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write it as a model folder."""

    @abstractmethod
    def facts(self) -> dict[str, object]:
        """For the manifest: what opening data must know of it (``shape``, ``classes``, ``trained_on``)."""


def load_classifier(model: Model, device: str = "cpu") -> Classifier:
    """The classifier of a model, in evaluation mode on ``device``.

    Raises:
        ArtifactError: it is none, or its weights do not fit its configuration.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> made = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> loaded = load_classifier(seal_classifier(made, Path("model")))
    >>> pictures = torch.ones(3, 1, 8, 8)
    >>> loaded.training, loaded.classes, bool(torch.equal(loaded(pictures), made(pictures)))
    (False, ['a', 'b'], True)
    """
    return modality_of(model.task).open_classifier(model.path).to(device).eval()


def seal_classifier(classifier: Classifier, folder: Path) -> Model:
    """Write a classifier as a model folder and seal it. It is on the CPU afterwards.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> config = ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["zero", "one"])
    >>> model = seal_classifier(build(config, seed=0), Path("model"))
    >>> model.meta["shape"], sorted(model.files)
    ([1, 8, 8], ['config.json', 'model.safetensors'])
    >>> load_classifier(model)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 2])
    """
    classifier.to("cpu")
    folder.mkdir(parents=True, exist_ok=True)
    classifier.write(folder)
    return Model.seal(folder, format=FORMAT, task=classifier.task, meta=dict(classifier.facts()))  # type: ignore[arg-type]


def batches(count: int, size: int) -> list[range]:
    """The rows 0 to ``count`` in ranges of at most ``size``.

    >>> batches(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
