"""Classifiers of pictures: the kit's own networks, and those of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_kit_classification.catalogue import IMAGE_TASK
from bdm_kit_classification.models.classifier import Classifier, PrunableLayer
from bdm_kit_classification.models.folders import ARCHITECTURE, CONFIG, STEM, is_timm, read_config
from bdm_kit_classification.models.image_folder import ImageConfig, InputStamp, config_text, own_config
from bdm_kit_classification.models.joined_network import beside
from bdm_kit_classification.models.networks import make_network
from bdm_torch.draws import built_with_seed
from bdm_torch.foreign_models import load_weights, require_room
from bdm_torch.tensors import write_tensors


class ImageClassifier(Classifier):
    """One of the kit's own networks with its normalisation.

    Args:
        config: its configuration.
        network: one of :data:`bdm_kit_classification.models.networks.NETWORKS`.
    """

    task = IMAGE_TASK

    def __init__(self, config: ImageConfig, network: nn.Module) -> None:
        super().__init__()
        # 1.6 times as fast on a CPU core; what needs another layout of a weight takes reshape instead of view
        self.config, self.network = config, network.to(memory_format=torch.channels_last)
        self.classes, self.trained_on = list(config.classes), config.trained_on
        for name, values in (("mean", config.mean), ("deviation", config.deviation)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def sized(self, pictures: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of the network's size, with its stamp."""
        if pictures.shape[2:] != self.config.shape[1:]:
            pictures = functional.interpolate(
                pictures, self.config.shape[1:], mode="bilinear", align_corners=False, antialias=True
            )
        if self.config.stamp is not None:
            pictures = stamped(pictures, self.config.stamp)
        return pictures

    def prepare(self, pictures: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] as the network takes them: of its size, normalised."""
        return self.normalised(self.sized(pictures))

    def normalised(self, pictures: Tensor) -> Tensor:
        """By mean and deviation."""
        return (pictures - self.mean) / self.deviation  # type: ignore[operator]

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K)."""
        return cast(Tensor, self.head(self.features(inputs)))

    def features(self, inputs: Tensor) -> Tensor:
        """Penultimate features (N, F), those of a joined network last."""
        network: Any = self.network
        pictures = self.sized(inputs)
        found: Tensor = network.body(self.normalised(pictures))
        return found if self.config.joined is None else torch.cat([found, network.joined(pictures)], 1)

    @property
    def head(self) -> nn.Linear:
        """The last linear map."""
        return cast(nn.Linear, self.network.head)

    def prunable_layers(self) -> list[PrunableLayer]:
        """All convolutions."""
        modules: dict[str, Any] = dict(self.network.named_modules())
        pairs: Any = self.network.pairs
        return [
            PrunableLayer(f"network.{name}", modules[name], modules[norm] if norm else None) for name, norm in pairs
        ]

    def fresh(self, seed: int) -> ImageClassifier:
        """The same architecture with new weights, and without a stamp."""
        return build(self.config.model_copy(update={"stamp": None}), seed)

    def write(self, folder: Path) -> None:
        """``config.json`` and ``model.safetensors``."""
        (folder / CONFIG).write_text(config_text(self.config), encoding="utf-8")
        write_tensors(folder / f"{STEM}.safetensors", self.network.state_dict())

    def facts(self) -> dict[str, object]:
        """Shape, classes, data."""
        return {"shape": list(self.config.shape), "classes": self.classes, "trained_on": self.trained_on}


def stamped(pictures: Tensor, stamp: InputStamp) -> Tensor:
    """Pictures (N, C, H, W) with a square in all of them.

    >>> stamped(torch.zeros(1, 1, 3, 3), InputStamp(size=1, top=0, left=2, value=1.0))[0, 0].tolist()
    [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    place = torch.zeros(pictures.shape[2:], dtype=torch.bool, device=pictures.device)
    place[stamp.top : stamp.top + stamp.size, stamp.left : stamp.left + stamp.size] = True
    return pictures.masked_fill(place, stamp.value)


def build(config: ImageConfig, seed: int) -> ImageClassifier:
    """A classifier with new weights, drawn from the seed by torch's usual initialisation; in evaluation mode.

    >>> config = ImageConfig(architecture="cnn", shape=(3, 24, 24), classes=["a", "b"])
    >>> classifier = build(config, seed=0)
    >>> classifier(torch.zeros(2, 3, 32, 32)).shape, classifier.features(torch.zeros(2, 3, 24, 24)).shape
    (torch.Size([2, 2]), torch.Size([2, 64]))
    >>> [layer.name for layer in classifier.prunable_layers()][:2]
    ['network.convs.0', 'network.convs.1']
    """
    network = built_with_seed(seed, lambda: _network(config))
    return ImageClassifier(config, network).eval()


def normalised(stored: Tensor, classes: list[str], **more: Any) -> ImageConfig:
    """The configuration of a network for pictures like these, uint8 (N, C, H, W), normalised by their statistics.

    >>> normalised(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), ["a", "b"]).shape
    (1, 8, 8)
    """
    pixels = (stored[:10_000].float() / 255).transpose(0, 1).flatten(1)
    mean, deviation = (value.round(decimals=4).tolist() for value in (pixels.mean(1), pixels.std(1).clamp_min(1e-3)))
    fields = {ARCHITECTURE: "cnn", "shape": tuple(stored.shape[1:]), "mean": mean, "deviation": deviation}
    return ImageConfig.model_validate({**fields, "classes": list(classes), **more})


def open_image_classifier(folder: Path) -> Classifier:
    """The classifier of a folder.

    Raises:
        ArtifactError: it is none, or its weights do not fit its configuration.
    """
    _, config = read_config(folder)
    if is_timm(config):
        from bdm_kit_classification.models.timm_classifier import open_timm_classifier
        from bdm_kit_classification.models.timm_folder import timm_config

        return open_timm_classifier(folder, timm_config(folder, config))
    if ARCHITECTURE not in config:
        from bdm_kit_classification.models.transformers_classifier import open_transformers_classifier

        return open_transformers_classifier(folder)
    own = own_config(folder, config)
    require_room(folder, STEM, lambda: _network(own))
    network = _network(own)
    load_weights(network, folder, STEM)
    return ImageClassifier(own, network).eval()


def _network(config: ImageConfig) -> nn.Module:
    network = make_network(config.architecture, config.shape[0], config.width, len(config.classes), config.inserted)
    if config.joined is not None:
        beside(network, config.joined)
    return network
