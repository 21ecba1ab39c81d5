"""Classifiers of pictures of the library transformers: ViT, ConvNeXt, ResNet, EfficientNet, MobileNet, Swin, ..."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import read_json
from bdm_kit_classification.catalogue import IMAGE_TASK
from bdm_kit_classification.models.classifier import Classifier, PrunableLayer
from bdm_torch.draws import built_with_seed
from bdm_torch.foreign_models import open_network

PROCESSOR = "preprocessor_config.json"


class TransformersClassifier(Classifier):
    """An ``AutoModelForImageClassification`` with the normalisation and size of its image processor.

    Args:
        network: of transformers.
        processor: what ``preprocessor_config.json`` says; written again as it was.
    """

    task = IMAGE_TASK

    def __init__(self, network: Any, processor: dict[str, Any]) -> None:
        super().__init__()
        self.network, self.processor = network, processor
        named = network.config.id2label
        self.classes = [str(named[index]) for index in sorted(named)]
        channels = int(getattr(network.config, "num_channels", 3))
        size = processor.get("size", getattr(network.config, "image_size", 224))
        if isinstance(size, dict):
            size = [
                size.get("height", size.get("shortest_edge", 224)),
                size.get("width", size.get("shortest_edge", 224)),
            ]
        height, width = (size, size) if isinstance(size, int) else size
        self.shape = (channels, int(height), int(width))
        normal = processor.get("do_normalize", True)
        for name, key, plain in (("mean", "image_mean", 0.0), ("deviation", "image_std", 1.0)):
            values = processor.get(key, [plain]) if normal else [plain]
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self._head_name = head_of(network)

    def prepare(self, pictures: Tensor) -> Tensor:
        """Pictures in [0, 1] as the network takes them."""
        if pictures.shape[2:] != self.shape[1:]:
            pictures = functional.interpolate(
                pictures, self.shape[1:], mode="bilinear", align_corners=False, antialias=True
            )
        return (pictures - self.mean) / self.deviation  # type: ignore[operator]

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K)."""
        return cast(Tensor, self.network(pixel_values=self.prepare(inputs)).logits)

    def features(self, inputs: Tensor) -> Tensor:
        """What the head sees, (N, F)."""
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        try:
            self(inputs)
        finally:
            hook.remove()
        return seen[0].flatten(1)

    @property
    def head(self) -> nn.Linear:
        """The last linear map."""
        return cast(nn.Linear, self.network.get_submodule(self._head_name))

    def prunable_layers(self) -> list[PrunableLayer]:
        """Convolutions and linear maps but for the head, in the order in which they run, each with the batch
        normalisation that takes its very output."""
        return layers_in_order(self, torch.zeros(1, *self.shape, device=self.device))

    def fresh(self, seed: int) -> TransformersClassifier:
        """The same architecture with new weights."""
        network = built_with_seed(seed, lambda: type(self.network)(self.network.config))
        return TransformersClassifier(network, self.processor).eval()

    def write(self, folder: Path) -> None:
        """As ``save_pretrained`` does."""
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
        processor = read_json(path) if path.is_file() else {}
        return TransformersClassifier(network, dict(processor)).eval()
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path} is not valid: {error}") from None


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


def layers_in_order(classifier: Classifier, example: Tensor) -> list[PrunableLayer]:
    """Convolutions and linear maps but for the head, in the order in which they run, each with the batch normalisation
    that takes its very output.

    Args:
        classifier: run once in evaluation mode.
        example: an input for it.
    """
    layers: list[tuple[str, nn.Module]] = []
    norm_of: dict[int, nn.BatchNorm2d] = {}
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # the tensors are kept, so that no address is used twice

    def watch(name: str) -> Any:
        def after(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(module, nn.BatchNorm2d):
                if id(given[0]) in made:
                    norm_of[id(made[id(given[0])][0])] = module
            elif all(module is not other for _, other in layers):
                layers.append((name, module))
                made[id(output)] = (module, output)

        return after

    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    found = [(name, module) for name, module in classifier.named_modules() if isinstance(module, kinds)]
    hooks = [module.register_forward_hook(watch(name)) for name, module in found]
    training = classifier.training
    try:
        with torch.no_grad():
            classifier.eval()(example)
    finally:
        classifier.train(training)
        for hook in hooks:
            hook.remove()
    return [
        PrunableLayer(name, layer, norm_of.get(id(layer))) for name, layer in layers if layer is not classifier.head
    ]
