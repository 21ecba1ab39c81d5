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
TIMM = "timm:"
"""Before the name of an architecture of timm."""


class ImageConfig(Record):
    """``config.json`` of one of the kit's own networks.

    Attributes:
        architecture: ``cnn``, ``cnn-wide``, ``preact-resnet18``, ``preact-resnet18-published`` or ``vgg19-bn``.
        width: channels of its first layer; None for the usual.
        shape: (C, H, W) of the pictures; others are resized to it.
        classes: their names.
        mean, deviation: pictures in [0, 1] are normalised by them, a number a channel.
        trained_on: the data it was trained on, as ``--data`` takes it; "" if unknown.
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

    model_config = {**Record.model_config, "populate_by_name": True}


class TimmNormal(Record):
    """``pretrained_cfg`` of timm's ``config.json``: (C, H, W) of the pictures, and how they are normalised."""

    input_size: tuple[int, int, int]
    mean: list[float] = Field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = Field(default_factory=lambda: [0.229, 0.224, 0.225])

    model_config = {**Record.model_config, "extra": "ignore"}


class TimmConfig(Record):
    """``config.json`` of a network of timm; what else stands there is not looked at.

    Attributes:
        architecture: its name in timm, without ``timm:`` and without a reference to weights.
        num_classes: how many.
        label_names: their names; numbers if there are none.
        model_args: what the network is made with; of all that timm takes, what tells its form and reads no files.
        pretrained_cfg: the pictures.
        trained_on: the data it was trained on, as ``--data`` takes it; "" if unknown.
    """

    architecture: str = Field(pattern=r"^[a-z0-9_]+$", max_length=100)
    num_classes: int = Field(ge=2, le=100_000)
    label_names: list[str] | None = None
    model_args: dict[Literal["img_size", "global_pool", "drop_rate", "drop_path_rate"], int | float | str] = Field(
        default_factory=dict
    )
    pretrained_cfg: TimmNormal
    trained_on: str = ""

    model_config = {**Record.model_config, "extra": "ignore"}

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.label_names or [str(label) for label in range(self.num_classes)]


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
        if name.startswith(TIMM) and found is None:
            raise ArtifactError(
                f"{name} is an architecture without weights: train a clean model first, by python -m "
                f"bdm_kit_classification.recipes.clean_model --network {name} --data DATA --out FOLDER"
            )
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
    if is_timm(config):
        return config  # type: ignore[no-any-return]
    named = config.get("architectures") if isinstance(config, dict) else None
    if isinstance(named, list) and any(str(name).endswith(HUGGING_FACE) for name in named):
        return config
    raise ArtifactError(
        f"{path} is of no classifier of pictures: its architectures are {named or 'not named'}, expected one that ends "
        f"in {HUGGING_FACE}"
    )


def is_timm(config: Any) -> bool:
    """Whether a configuration is one that timm writes."""
    return isinstance(config, dict) and isinstance(config.get("architecture"), str) and "pretrained_cfg" in config


def timm_config(folder: Path, config: dict[str, Any]) -> TimmConfig:
    """The checked configuration of a network of timm. Raises ArtifactError if it is not valid."""
    path = folder / CONFIG
    try:
        found = TimmConfig.model_validate(config)
    except ValidationError as error:
        raise _invalid(path, error) from None
    normal = found.pretrained_cfg
    _check_pictures(path, normal.input_size, normal.mean, normal.std)
    if len(found.classes) != found.num_classes:
        raise ArtifactError(f"{path}: num_classes is {found.num_classes}, label_names has {len(found.classes)}")
    return found


def own_config(folder: Path, config: dict[str, Any]) -> ImageConfig:
    """The checked configuration of one of the kit's own networks. Raises ArtifactError if it is not valid."""
    return checked_config(folder / CONFIG, config)


def checked_config(path: Path, config: dict[str, Any]) -> ImageConfig:
    """The checked configuration in a file. Raises ArtifactError if it is not valid."""
    try:
        found = ImageConfig.model_validate(config)
    except ValidationError as error:
        raise _invalid(path, error) from None
    _check_pictures(path, found.shape, found.mean, found.deviation)
    return found


def _invalid(path: Path, error: ValidationError) -> ArtifactError:
    first = error.errors(include_url=False)[0]
    return ArtifactError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}")


def _check_pictures(path: Path, shape: tuple[int, int, int], mean: list[float], deviation: list[float]) -> None:
    channels, height, width = shape
    if channels not in (1, 3) or not 4 <= height <= 2048 or not 4 <= width <= 2048:
        raise ArtifactError(f"{path}: shape {list(shape)} is not 1 or 3 channels of 4 to 2048 pixels")
    if len(mean) not in (1, channels) or len(deviation) not in (1, channels) or min(deviation) <= 0:
        raise ArtifactError(f"{path}: mean and deviation need one number, or one a channel")


def is_classifier(folder: Path) -> bool:
    """Whether a folder's configuration is of a classifier of pictures."""
    try:
        read_config(folder)
    except ArtifactError:
        return False
    return True
