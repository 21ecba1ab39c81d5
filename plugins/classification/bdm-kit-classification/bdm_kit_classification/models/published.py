"""State dicts of published classifiers, PreAct-ResNet18 and VGG19-BN, as folders of the kit, for ``bdm import``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from bdm_core.errors import ArtifactError
from bdm_core.files import read_json
from bdm_kit_classification.models.folders import ARCHITECTURE, CONFIG, LARGEST_CONFIG, STEM
from bdm_kit_classification.models.image_folder import ImageConfig, checked_config, config_text
from bdm_kit_classification.models.networks import VGG19, make_network
from bdm_torch.foreign_models import WRAPPERS
from bdm_torch.tensors import read_tensors, write_tensors
from bdm_torch.weights import Entry, read_header

RESNET, RESNET_PUBLISHED, VGG = "preact-resnet18", "preact-resnet18-published", "vgg19-bn"
COUNTER = "num_batches_tracked"
BLOCK = re.compile(r"layer([1-4])\.([01])\.(bn1\.|conv1\.|bn2\.|conv2\.|shortcut\.)(?:0\.)?(\w+)")
ASKED = '{"architecture": "preact-resnet18", "classes": 10, "size": 32, "mean": [...], "deviation": [...]}'
"""What the configuration of a published state dict says; ``classes`` may be a list of names."""


def convert_published(weights: Path, config: Path, folder: Path) -> bool:
    """Write a state dict as a model folder of the kit.

    Args:
        weights: a safetensors file in the names of the published models: ``conv1``, ``layer1.0.bn1``, ``linear`` of
            PreAct-ResNet18; ``features.0``, ``classifier`` of VGG19-BN with one linear layer.
        config: a JSON file, or a folder with ``config.json``, of the form :data:`ASKED`, or of the kit's own. Mean and
            deviation are those by which pictures in [0, 1] were normalised: [0] and [1] if they were not.
        folder: an existing empty folder.

    Returns:
        Whether the names are those of such a network.

    Raises:
        ArtifactError: a tensor has no place in the kit's network, is missing, or is of another shape than the
            configuration says; or the configuration says too little.
    """
    header = read_header(weights)
    prefix = _prefix(header)
    plain = {name.removeprefix(prefix) for name in header}
    architecture = _architecture(plain)
    if architecture is None:
        return False
    if architecture != VGG and plain & {"bn1.weight", "fc.weight"}:
        raise ArtifactError(
            f"{weights} is a ResNet (bn1, fc), not a PreAct-ResNet18: only PreAct-ResNet18 and VGG19-BN can be "
            "imported by --config; save it as a timm or transformers folder, or give --like"
        )
    names = {name: _kit_name(architecture, name.removeprefix(prefix)) for name in header}
    strange = [name for name, new in names.items() if new is None]
    if strange:
        raise ArtifactError(
            f"{weights} looks like {architecture} and has tensors that it lacks, e.g. {strange[0]} "
            f"({len(strange)} of {len(names)}): it cannot be converted"
        )
    own = _configuration(config, architecture, {str(names[name]): entry for name, entry in header.items()})
    found = {str(names[name]): value for name, value in read_tensors(weights).items()}
    write_tensors(folder / f"{STEM}.safetensors", _fitted(weights, own, found))
    (folder / CONFIG).write_text(config_text(own), encoding="utf-8")
    return True


def _prefix(names: Iterable[str]) -> str:
    """What wrappers put before all names."""
    found, left = "", list(names)
    while left and (
        one := next((item for item in WRAPPERS if all(name.startswith(found + item) for name in left)), "")
    ):
        found += one
    return found


def _architecture(names: set[str]) -> str | None:
    if {"conv1.weight", "layer1.0.bn1.weight", "layer4.0.conv1.weight"} <= names:
        return RESNET if "bn.weight" in names else RESNET_PUBLISHED
    if {"features.0.weight", "features.1.running_mean"} <= names:
        return VGG
    return None


def _kit_name(architecture: str, name: str) -> str | None:
    """The name in the kit's network; None if nothing there answers to it."""
    if architecture == VGG:
        part, _, rest = name.removeprefix("features.").partition(".")
        places = _vgg_places()
        if name.startswith("features.") and part in places:
            return f"{places[part]}.{rest}"
        return f"head.{name.removeprefix('classifier.')}" if name in ("classifier.weight", "classifier.bias") else None
    if match := BLOCK.fullmatch(name):
        stage, block, part, rest = match.groups()
        return f"blocks.{2 * int(stage) - 2 + int(block)}.{part}{rest}"
    if name in ("linear.weight", "linear.bias"):
        return name.replace("linear", "head")
    return name if name == "conv1.weight" or name.startswith("bn.") else None


def _vgg_places() -> dict[str, str]:
    """Position in ``features`` -> name in the kit's network: convolution, normalisation and ReLU, or a pooling."""
    places, position, number = {}, 0, 0
    for factor in VGG19:
        if factor:
            places[str(position)], places[str(position + 1)] = f"convs.{number}", f"norms.{number}"
            number += 1
        position += 3 if factor else 1
    return places


def _configuration(config: Path, architecture: str, shapes: dict[str, Entry]) -> ImageConfig:
    """The kit's configuration, from the user's and from what the tensors say."""
    path = config / CONFIG if config.is_dir() else config
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError
        given = read_json(path)
        if not isinstance(given, dict):
            raise ValueError
    except (OSError, ValueError, RecursionError):
        raise ArtifactError(f"{path} is no configuration of a classifier: expected JSON such as {ASKED}") from None
    said: dict[str, Any] = dict(given)
    named = said.pop("architecture", said.pop(ARCHITECTURE, None))
    if named not in (architecture, architecture.removesuffix("-published")):
        raise ArtifactError(f"{path}: architecture is {str(named)[:40]!r}, the tensors are those of {architecture}")
    first = shapes.get("conv1.weight", shapes.get("convs.0.weight"))
    head = shapes.get("head.weight")
    if first is None or head is None or len(first.shape) != 4 or len(head.shape) != 2:
        raise ArtifactError(f"the tensors of {architecture} lack a first convolution or a last linear layer")
    if "shape" not in said:
        said["shape"] = (first.shape[1], said.get("size"), said.pop("size", None))
    if isinstance(said.get("classes"), int):
        said["classes"] = [str(label) for label in range(min(said["classes"], 100_001))]
    lacking = [name for name in ("mean", "deviation") if name not in said]
    if lacking:
        raise ArtifactError(f"{path} does not say the {lacking[0]} by which pictures were normalised; expected {ASKED}")
    own = checked_config(path, {**said, ARCHITECTURE: architecture, "width": first.shape[0]})
    if (len(own.classes), own.shape[0]) != (head.shape[0], first.shape[1]):
        raise ArtifactError(
            f"{path} says {len(own.classes)} classes and {own.shape[0]} channels, the tensors have {head.shape[0]} and "
            f"{first.shape[1]}"
        )
    return own


def _fitted(weights: Path, config: ImageConfig, found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of the kit's network; counters of batches that old files lack are 0."""
    with torch.device("meta"):
        sizes = config.shape[0], config.width, len(config.classes)
        expected = make_network(config.architecture, *sizes, config.inserted).state_dict()
    found = {**{name: torch.tensor(0) for name in expected if name.endswith(COUNTER)}, **found}
    for name, value in expected.items():
        if name not in found:
            raise ArtifactError(f"{weights} lacks the tensor that the kit calls {name}: it cannot be converted")
        has, expects = list(found[name].shape), list(value.shape)
        if has != expects:
            raise ArtifactError(f"{weights}: what the kit calls {name} has shape {has}, expected {expects}")
    extra = sorted(found.keys() - expected.keys())
    if extra:
        raise ArtifactError(f"{weights} has {extra[0]}, which {config.architecture} lacks: it cannot be converted")
    return found
