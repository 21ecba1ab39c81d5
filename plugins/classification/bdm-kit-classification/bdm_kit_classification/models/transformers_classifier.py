"""Classifiers of pictures of the library transformers: ViT, ConvNeXt, ResNet, EfficientNet, MobileNet, Swin, ..."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import read_json
from bdm_kit_classification.models.foreign_classifier import ForeignClassifier
from bdm_kit_classification.models.image_folder import check_pictures
from bdm_torch.configurations import check_numbers
from bdm_torch.draws import built_with_seed
from bdm_torch.foreign_models import first_line, only_errors, open_network

PROCESSOR = "preprocessor_config.json"


class TransformersClassifier(ForeignClassifier):
    """An ``AutoModelForImageClassification`` with the normalisation and size of its image processor.

    Args:
        network: of transformers.
        processor: what ``preprocessor_config.json`` says; written again as it was.
    """

    def __init__(self, network: Any, processor: dict[str, Any]) -> None:
        channels = int(getattr(network.config, "num_channels", 3))
        size = processor.get("size", getattr(network.config, "image_size", 224))
        if isinstance(size, dict):
            size = [
                size.get("height", size.get("shortest_edge", 224)),
                size.get("width", size.get("shortest_edge", 224)),
            ]
        height, width = (size, size) if isinstance(size, int) else size
        given = processor if processor.get("do_normalize", True) else {}
        mean, deviation = given.get("image_mean", [0.0]), given.get("image_std", [1.0])
        super().__init__(network, head_of(network), (channels, int(height), int(width)), mean, deviation)
        self.processor = processor
        named = network.config.id2label
        self.classes = [str(named[index]) for index in sorted(named)]

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K)."""
        return cast(Tensor, self.network(pixel_values=self.prepare(inputs)).logits)

    def fresh(self, seed: int) -> TransformersClassifier:
        """The same architecture with new weights."""
        network = built_with_seed(seed, lambda: type(self.network)(self.network.config))
        return TransformersClassifier(network, self.processor).eval()

    def write(self, folder: Path) -> None:
        """As ``save_pretrained`` does."""
        with only_errors("transformers"):
            self.network.save_pretrained(folder)
        (folder / PROCESSOR).write_text(json.dumps(self.processor, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def facts(self) -> dict[str, object]:
        """Shape and classes."""
        return {"shape": list(self.shape), "classes": self.classes, "trained_on": ""}


def open_transformers_classifier(folder: Path) -> TransformersClassifier:
    """The classifier of a ``save_pretrained`` folder.

    Raises:
        UserError: transformers is not installed.
        ArtifactError: its weights do not fit its configuration, or it has no linear head.
    """
    try:
        from transformers import AutoModelForImageClassification
    except ImportError:
        raise UserError(f"{folder} needs transformers: pip install 'bdm-kit-classification[transformers]'") from None
    network = open_network(AutoModelForImageClassification, folder, "model").float()
    path = folder / PROCESSOR
    try:
        processor = dict(read_json(path)) if path.is_file() else {}
        check_numbers(path, processor)
        classifier = TransformersClassifier(network, processor).eval()
        mean, deviation = ([*getattr(classifier, name).flatten().tolist()] for name in ("mean", "deviation"))
    except (OSError, ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise ArtifactError(f"{path} is not valid: {first_line(error)}") from None
    check_pictures(path, classifier.shape, mean, deviation)
    return classifier


def head_of(network: nn.Module) -> str:
    """The name of the last linear map that gives the logits. Raises ArtifactError if there is none."""
    wanted = int(cast(Any, network).config.num_labels)
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == wanted
    ]
    if not names:
        raise ArtifactError(f"{type(network).__name__} has no linear map that gives its {wanted} logits")
    return names[-1]
