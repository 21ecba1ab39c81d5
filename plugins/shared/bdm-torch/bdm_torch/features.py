"""Feature spaces: small image classifiers and the features before their last layer.

A classifier lies in a folder as safetensors with a ``config.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_core.files import read_json
from bdm_torch.foreign_models import first_line, load_weights

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


class ImageClassifier(nn.Module):
    """Two convolutions, a feature layer and a linear read-out.

    Args:
        image_size: height and width of the images.
        channels: 1 or 3.
        widths: channels of the two convolutions; the second one has stride 2.
        feature_count: width of the feature layer.
        classes: number of classes.

    >>> classifier = ImageClassifier(image_size=8, channels=1, feature_count=48, classes=10)
    >>> images = torch.zeros(5, 1, 8, 8)
    >>> classifier.features(images).shape, classifier.logits(images).shape
    (torch.Size([5, 48]), torch.Size([5, 10]))
    """

    def __init__(
        self,
        image_size: int = 8,
        channels: int = 1,
        widths: tuple[int, int] = (32, 64),
        feature_count: int = 48,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "image_size": image_size,
            "channels": channels,
            "widths": list(widths),
            "feature_count": feature_count,
            "classes": classes,
        }
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.second = nn.Conv2d(widths[0], widths[1], 3, stride=2, padding=1)
        self.feature_layer = nn.Linear(widths[1] * ((image_size + 1) // 2) ** 2, feature_count)
        self.read_out = nn.Linear(feature_count, classes)
        self.dropout = nn.Dropout(0.2)

    def _feature_layer_output(self, images: Tensor) -> Tensor:
        expected = (self.config["channels"], self.config["image_size"], self.config["image_size"])
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise UserError(
                f"the feature network takes images of shape (N, {', '.join(map(str, expected))}), got "
                f"{tuple(images.shape)}: choose a feature network that fits the model's images"
            )
        hidden = functional.silu(self.first(images))
        hidden = self.dropout(functional.silu(self.second(hidden)).flatten(1))
        return self.feature_layer(hidden)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores before the softmax, (N, classes), of images (N, C, H, W) in [-1, 1]."""
        return self.read_out(self.dropout(functional.silu(self._feature_layer_output(images))))

    @torch.no_grad()
    def features(self, images: Tensor, batch_size: int = 512) -> Tensor:
        """Features (N, feature_count), float32, of images (N, C, H, W) in [-1, 1]."""
        return torch.cat([self._feature_layer_output(batch) for batch in images.split(batch_size)])

    @torch.no_grad()
    def logits(self, images: Tensor, batch_size: int = 512) -> Tensor:
        """Class scores (N, classes), float32, of images (N, C, H, W) in [-1, 1]."""
        return torch.cat([self(batch) for batch in images.split(batch_size)])


def save_classifier(classifier: ImageClassifier, folder: Path) -> None:
    """Write ``model.safetensors`` and ``config.json``.

    >>> save_classifier(ImageClassifier(classes=3), Path("mine"))
    >>> load_classifier(Path("mine")).config["classes"]
    3
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in classifier.state_dict().items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(classifier.config, indent=2) + "\n", encoding="utf-8")


def load_classifier(folder: Path, device: str | torch.device = "cpu") -> ImageClassifier:
    """The classifier in a folder, in evaluation mode.

    Raises:
        UserError: the folder holds no classifier that :func:`save_classifier` wrote.

    >>> load_classifier(Path("nowhere"))
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: nowhere holds no feature network (model.safetensors, config.json): ...
    """
    try:
        classifier = ImageClassifier(**read_json(folder / CONFIG))
    except Exception as error:  # an odd configuration leads to errors of all kinds
        raise UserError(f"{folder} holds no feature network ({WEIGHTS}, {CONFIG}): {first_line(error)}") from None
    load_weights(classifier, folder, "model")
    return classifier.to(device).eval().requires_grad_(False)
