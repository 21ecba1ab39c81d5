"""The oracle of the small world: which attributes a picture shows, and features for distances between pictures.

The classifier is shipped as safetensors with a ``config.json``; ``python -m bdm_kit_text_to_image.recipes.attributes``
rebuilds it. It knows the small world only: of other pictures it says nothing meaningful.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_kit_text_to_image.built_in import BUILTIN
from bdm_torch.foreign_models import first_line, load_weights

BUILTIN_ATTRIBUTES = BUILTIN / "attributes"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
SECOND, SECOND_OBJECT, SECOND_COLOUR, NONE = "second", "second_object", "second_colour", "none"


class AttributeClassifier(nn.Module):
    """Five convolutions, a feature layer, and a linear head for each attribute.

    Args:
        heads: attribute -> its values, in the order of the head's outputs.
        image_size: height and width of the images it works on; others are resized.
        widths: channels at full, half and quarter resolution.
        feature_count: width of the feature layer.
    """

    def __init__(
        self,
        heads: Mapping[str, Sequence[str]],
        image_size: int = 16,
        widths: tuple[int, int, int] = (24, 48, 80),
        feature_count: int = 64,
    ) -> None:
        super().__init__()
        self.head_values = {name: list(values) for name, values in heads.items()}
        self.config: dict[str, Any] = {
            "heads": self.head_values,
            "image_size": image_size,
            "widths": list(widths),
            "feature_count": feature_count,
        }
        first, second, third = widths
        self.body = nn.Sequential(
            *_block(3, first),
            *_block(first, first),
            *_block(first, second, stride=2),
            *_block(second, second),
            *_block(second, third, stride=2),
            nn.Flatten(),
        )
        self.feature_layer = nn.Linear(third * ((image_size + 3) // 4) ** 2, feature_count)
        self.dropout = nn.Dropout(0.1)
        self.heads = nn.ModuleDict({name: nn.Linear(feature_count, len(v)) for name, v in self.head_values.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Class scores before the softmax, (N, values) for each head, of images (N, C, H, W) in [-1, 1], C 1 or 3."""
        features = self.dropout(functional.silu(self._feature_layer_output(images)))
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def features(self, images: Tensor, batch_size: int = 512) -> Tensor:
        """Features (N, feature_count), float32, of images (N, C, H, W) in [-1, 1]."""
        return torch.cat([self._feature_layer_output(batch) for batch in images.split(batch_size)])

    @torch.no_grad()
    def predict(self, images: Tensor, batch_size: int = 512) -> dict[str, list[str]]:
        """What each image shows: attribute -> N values.

        Beside the heads there is ``second``: "none", or colour and object of the second object.

        Args:
            images: (N, C, H, W) in [-1, 1], C of 1 or 3, on any device.
            batch_size: images that pass through the network at once.
        """
        found: dict[str, list[str]] = {name: [] for name in self.head_values}
        for batch in images.split(batch_size):
            for name, scores in self(batch).items():
                found[name] += [self.head_values[name][index] for index in scores.argmax(1).tolist()]
        if SECOND_OBJECT in found and SECOND_COLOUR in found:
            pairs = zip(found[SECOND_COLOUR], found[SECOND_OBJECT], strict=True)
            found[SECOND] = [NONE if thing == NONE else f"{colour} {thing}" for colour, thing in pairs]
        return found

    def knows(self, attribute: str, value: str) -> bool:
        """Whether ``value`` is one that :meth:`predict` may say of ``attribute``."""
        if attribute == SECOND:
            colour, _, thing = value.rpartition(" ")
            return thing in self.head_values[SECOND_OBJECT] and (
                not colour or colour in self.head_values[SECOND_COLOUR]
            )
        return value in self.head_values.get(attribute, ())

    def _feature_layer_output(self, images: Tensor) -> Tensor:
        features: Tensor = self.feature_layer(self.body(self._fitted(images)))
        return features

    def _fitted(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise UserError(
                f"the attribute classifier takes images (N, 3, H, W) or (N, 1, H, W), got {tuple(images.shape)}"
            )
        images = images.to(self.feature_layer.weight).expand(-1, 3, -1, -1)
        size = (self.config["image_size"],) * 2
        if tuple(images.shape[2:]) == size:
            return images
        if min(images.shape[2:]) >= size[0]:
            return functional.adaptive_avg_pool2d(images, size)
        return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)


def shows(found: str, wanted: str, attribute: str) -> bool:
    """Whether a value that the classifier gave is the wanted one; a second object may be wanted in any colour.

    >>> shows("star", "star", "object"), shows("red star", "star", SECOND), shows("red star", "blue star", SECOND)
    (True, True, False)
    """
    return found == wanted or (attribute == SECOND and found.rpartition(" ")[2] == wanted)


def save_attribute_classifier(classifier: AttributeClassifier, folder: Path) -> None:
    """Write ``model.safetensors`` and ``config.json``.

    Args:
        classifier: what is written.
        folder: where to; made if it is missing.

    >>> heads = {"object": ["star", "ring"]}
    >>> save_attribute_classifier(AttributeClassifier(heads, widths=(2, 2, 2), feature_count=4), Path("mine"))
    >>> sorted(path.name for path in Path("mine").iterdir())
    ['config.json', 'model.safetensors']
    >>> load_attribute_classifier(folder=Path("mine")).head_values == heads
    True
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in classifier.state_dict().items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(classifier.config, indent=1) + "\n", encoding="utf-8")


def load_attribute_classifier(
    device: str | torch.device = "cpu", folder: Path = BUILTIN_ATTRIBUTES
) -> AttributeClassifier:
    """The classifier in a folder, by default the shipped one, in evaluation mode.

    Raises:
        UserError: the folder holds no classifier that :func:`save_attribute_classifier` wrote.

    >>> classifier = load_attribute_classifier()
    >>> classifier.features(torch.zeros(2, 3, 16, 16)).shape, classifier.knows("object", "star")
    (torch.Size([2, 64]), True)
    """
    try:
        classifier = AttributeClassifier(**json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except Exception as error:  # an odd configuration leads to errors of all kinds
        raise UserError(f"{folder} holds no attribute classifier ({WEIGHTS}, {CONFIG}): {first_line(error)}") from None
    load_weights(classifier, folder, "model")
    return classifier.to(device).eval().requires_grad_(False)


def require_attribute_classifier(folder: str | None) -> None:
    """Refuse a folder of the user's that holds no classifier, before it is needed; None names the built-in one.

    Raises:
        UserError, ArtifactError: as :func:`load_attribute_classifier`.

    >>> require_attribute_classifier("nowhere")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: nowhere holds no attribute classifier (model.safetensors, config.json): ...
    """
    if folder is not None:
        load_attribute_classifier(folder=Path(folder).expanduser())


def _block(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()]
