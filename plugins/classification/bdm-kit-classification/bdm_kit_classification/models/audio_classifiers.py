"""Classifiers of sound: the kit's own networks, and the way to those of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, ValidationError
from torch import Tensor, nn

from bdm_core.artifacts import Record
from bdm_core.errors import ArtifactError
from bdm_kit_classification.models.audio_networks import NETWORKS, log_mel_statistics
from bdm_kit_classification.models.classifier import Classifier, PrunableLayer
from bdm_kit_classification.models.folders import ARCHITECTURE, CONFIG, STEM, read_config
from bdm_kit_classification.sounds.batch import Sounds
from bdm_kit_classification.sounds.files import LEAST_RATE, MOST_RATE
from bdm_kit_classification.tasks.audio import AUDIO_TASK
from bdm_torch.draws import built_with_seed
from bdm_torch.foreign_models import load_weights, require_room
from bdm_torch.tensors import write_tensors


class AudioConfig(Record):
    """``config.json`` of one of the kit's own networks for sound.

    Attributes:
        architecture: ``log-mel-cnn``, ``m5`` or ``x-vector``.
        width: of its first layer; None for the usual.
        rate: samples a second.
        samples: of a recording; data from files are brought to it, the network takes any length.
        classes: their names.
        mean, deviation: of log-mel bands, by which they are normalised.
        trained_on: the data it was trained on, as ``--data`` takes it; "" if unknown.
    """

    architecture: Literal["log-mel-cnn", "m5", "x-vector"] = Field(alias=ARCHITECTURE)
    width: int | None = Field(None, ge=1, le=4096)
    rate: int = Field(ge=LEAST_RATE, le=MOST_RATE)
    samples: int = Field(ge=64, le=2**24)
    classes: list[str] = Field(min_length=2, max_length=100_000)
    mean: float = 0.0
    deviation: float = Field(1.0, gt=0)
    trained_on: str = ""

    model_config = {**Record.model_config, "populate_by_name": True}


class AudioClassifier(Classifier):
    """One of the kit's own networks; its front end is part of it, so that gradients reach the waveform.

    Args:
        config: its configuration.
        network: one of :data:`bdm_kit_classification.models.audio_networks.NETWORKS`.
    """

    task = AUDIO_TASK

    def __init__(self, config: AudioConfig, network: nn.Module) -> None:
        super().__init__()
        self.config, self.network = config, network
        self.classes, self.trained_on = list(config.classes), config.trained_on

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K) of waveforms (N, S)."""
        return cast(Tensor, self.head(self.features(inputs)))

    def features(self, inputs: Tensor) -> Tensor:
        """Penultimate features (N, F)."""
        return cast(Any, self.network).body(inputs)  # type: ignore[no-any-return]

    @property
    def head(self) -> nn.Linear:
        """The last linear map."""
        return cast(nn.Linear, self.network.head)

    def prunable_layers(self) -> list[PrunableLayer]:
        """All convolutions."""
        modules: dict[str, Any] = dict(self.network.named_modules())
        pairs: Any = self.network.pairs
        return [PrunableLayer(f"network.{name}", modules[name], modules[norm]) for name, norm in pairs]

    def fresh(self, seed: int) -> AudioClassifier:
        """The same architecture with new weights."""
        return build(self.config, seed)

    def write(self, folder: Path) -> None:
        """``config.json`` and ``model.safetensors``."""
        text = json.dumps(self.config.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
        write_tensors(folder / f"{STEM}.safetensors", self.network.state_dict())

    def facts(self) -> dict[str, object]:
        """Samples of a recording, rate, classes, data."""
        shape = [self.config.samples]
        return {"shape": shape, "rate": self.config.rate, "classes": self.classes, "trained_on": self.trained_on}


def build(config: AudioConfig, seed: int) -> AudioClassifier:
    """A classifier with new weights, drawn from the seed; in evaluation mode.

    >>> import torch
    >>> config = AudioConfig(architecture="m5", rate=8000, samples=4000, classes=["no", "yes"])
    >>> classifier = build(config, seed=0)
    >>> classifier(torch.zeros(2, 4000)).shape, classifier.features(torch.zeros(2, 2000)).shape
    (torch.Size([2, 2]), torch.Size([2, 64]))
    """
    return AudioClassifier(config, built_with_seed(seed, lambda: _network(config))).eval()


def normalised(stored: Sounds, classes: list[str], **more: Any) -> AudioConfig:
    """The configuration of a network for recordings like these, normalised by their statistics.

    >>> import torch
    >>> normalised(Sounds(torch.zeros(4, 800, dtype=torch.int16), 8000), ["a", "b"]).samples
    800
    """
    mean, deviation = log_mel_statistics(stored.values[:1000].float() / 32767, stored.rate)
    fields = {ARCHITECTURE: "log-mel-cnn", "rate": stored.rate, "samples": stored.values.shape[1]}
    return AudioConfig.model_validate(
        {**fields, "classes": list(classes), "mean": mean, "deviation": deviation, **more}
    )


def open_audio_classifier(folder: Path) -> Classifier:
    """The classifier of a folder.

    Raises:
        ArtifactError: it is none, or its weights do not fit its configuration.
    """
    _, config = read_config(folder)
    if ARCHITECTURE not in config:
        from bdm_kit_classification.models.transformers_audio import open_transformers_audio

        return open_transformers_audio(folder)
    try:
        own = AudioConfig.model_validate(config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ArtifactError(f"{folder / CONFIG}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    require_room(folder, STEM, lambda: _network(own))
    network = _network(own)
    load_weights(network, folder, STEM)
    return AudioClassifier(own, network).eval()


def _network(config: AudioConfig) -> nn.Module:
    kind, width = NETWORKS[config.architecture]
    return kind(config.rate, config.width or width, len(config.classes), config.mean, config.deviation)
