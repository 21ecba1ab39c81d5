"""Folders of picture classifiers, looked at before anything is loaded. Light: no torch, no transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from bdm_core.artifacts import Record
from bdm_core.errors import ArtifactError
from bdm_core.files import existing, read_json
from bdm_kit_classification.built_in import BUILTIN
from bdm_kit_classification.catalogue import BUILTIN_MODELS, DEFAULT_MODEL, TINY
from bdm_torch.foreign_models import find_weights
from bdm_torch.references import fetch_snapshot, parse_hub_reference, suggest

CONFIG, STEM = "config.json", "model"
ARCHITECTURE = "bdm_architecture"
"""The key of ``config.json`` by which one of the kit's own networks is known."""
HUGGING_FACE = "ForImageClassification"
"""How the class of a transformers model of this task ends."""
LARGEST_CONFIG = 2**24


class InputStamp(Record):
    """A square that the model puts into every picture it is given, before anything else: the defense NAB's.

    Attributes:
        size: its side in pixels.
        top, left: its place.
        value: of its pixels, in [0, 1].
    """

    size: int = Field(ge=1, le=2048)
    top: int = Field(0, ge=0, le=2048)
    left: int = Field(0, ge=0, le=2048)
    value: float = Field(ge=0, le=1)


class ImageConfig(Record):
    """``config.json`` of one of the kit's own networks.

    Attributes:
        architecture: ``cnn``, ``cnn-wide``, ``preact-resnet18``, ``preact-resnet18-published`` or ``vgg19-bn``.
        width: channels of its first layer; None for the usual.
        shape: (C, H, W) of the pictures; others are resized to it.
        classes: their names.
        mean, deviation: pictures in [0, 1] are normalised by them, a number a channel.
        trained_on: the data it was trained on, as ``--data`` takes it; "" if unknown.
        stamp: what it puts into every picture; left out of the file if it is None.
    """

    architecture: Literal["cnn", "cnn-wide", "preact-resnet18", "preact-resnet18-published", "vgg19-bn"] = Field(
        alias=ARCHITECTURE
    )
    width: int | None = Field(None, ge=1, le=4096)
    shape: tuple[int, int, int]
    classes: list[str] = Field(min_length=2, max_length=100_000)
    mean: list[float] = Field(default_factory=lambda: [0.5])
    deviation: list[float] = Field(default_factory=lambda: [0.5])
    trained_on: str = ""
    stamp: InputStamp | None = None

    model_config = {**Record.model_config, "populate_by_name": True}


def find_image_model(reference: str | None, cache: Path) -> Path:
    """The folder that a reference stands for; its configuration and the headers of its weights are checked.

    Args:
        reference: None for ``mnist-cnn``, a built-in name, a local folder, or ``hf:org/name@commit``.
        cache: where a download may be kept meanwhile; only JSON and safetensors are fetched.

    Raises:
        ArtifactError: the reference is of no known kind, or its folder is no classifier of pictures.
    """
    name = reference or DEFAULT_MODEL
    if name in BUILTIN_MODELS:
        folder = BUILTIN / BUILTIN_MODELS[name]
    elif (hub := parse_hub_reference(name)) is not None:
        folder = fetch_snapshot(hub, cache, ["*.json", "*.safetensors"])
    else:
        found = existing(name)
        if found is None or not found.is_dir():
            raise ArtifactError(f"no model {name!r}: {suggest(name, [key for key in BUILTIN_MODELS if key != TINY])}")
        folder = found
    read_config(folder)
    find_weights(folder, STEM)
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a classifier of pictures.

    Raises:
        ArtifactError: there is none, or it is of another kind of model.
    """
    path = folder / CONFIG
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError
        config = read_json(path)
    except (OSError, ValueError, RecursionError):
        raise ArtifactError(f"{folder} is no classifier: it has no {CONFIG} that can be read") from None
    if isinstance(config, dict) and ARCHITECTURE in config:
        return config
    named = config.get("architectures") if isinstance(config, dict) else None
    if isinstance(named, list) and any(str(name).endswith(HUGGING_FACE) for name in named):
        return config
    raise ArtifactError(
        f"{path} is of no classifier of pictures: its architectures are {named or 'not named'}, expected one that ends "
        f"in {HUGGING_FACE}"
    )


def own_config(folder: Path, config: dict[str, Any]) -> ImageConfig:
    """The checked configuration of one of the kit's own networks. Raises ArtifactError if it is not valid."""
    return checked_config(folder / CONFIG, config)


def checked_config(path: Path, config: dict[str, Any]) -> ImageConfig:
    """The checked configuration in a file. Raises ArtifactError if it is not valid."""
    try:
        found = ImageConfig.model_validate(config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ArtifactError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    channels, height, width = found.shape
    if channels not in (1, 3) or not 4 <= height <= 2048 or not 4 <= width <= 2048:
        raise ArtifactError(f"{path}: shape {list(found.shape)} is not 1 or 3 channels of 4 to 2048 pixels")
    if len(found.mean) not in (1, channels) or len(found.deviation) not in (1, channels) or min(found.deviation) <= 0:
        raise ArtifactError(f"{path}: mean and deviation need one number, or one a channel")
    stamp = found.stamp
    if stamp is not None and (stamp.top + stamp.size > height or stamp.left + stamp.size > width):
        raise ArtifactError(f"{path}: the stamp does not lie within pictures of {height}x{width}")
    return found


def is_classifier(folder: Path) -> bool:
    """Whether a folder's configuration is of a classifier of pictures."""
    try:
        read_config(folder)
    except ArtifactError:
        return False
    return True
