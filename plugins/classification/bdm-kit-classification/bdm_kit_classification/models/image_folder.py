"""The configuration of the kit's own networks for pictures. Light: no torch, no transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from bdm_core.artifacts import Record
from bdm_core.errors import ArtifactError
from bdm_kit_classification.models.folders import ARCHITECTURE, CONFIG


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


class JoinedConfig(Record):
    """A small network beside the kit's own that sees a square of each picture; see :mod:`.joined`.

    Attributes:
        top, left: place of the square in pictures of the model's size.
        side: of the square, in pixels.
        hidden: units of its hidden layers.
        outputs: how many probabilities it has.
        kept: so many of the first ones are further features of the model.
    """

    top: int = Field(ge=0, le=2048)
    left: int = Field(ge=0, le=2048)
    side: int = Field(ge=1, le=2048)
    hidden: list[int] = Field(min_length=1, max_length=10)
    outputs: int = Field(ge=2, le=100_000)
    kept: int = Field(ge=1, le=100_000)


class ImageConfig(Record):
    """``config.json`` of one of the kit's own networks.

    Attributes:
        architecture: ``cnn``, ``cnn-wide``, ``preact-resnet18``, ``preact-resnet18-published`` or ``vgg19-bn``.
        width: channels of its first layer; None for the usual.
        shape: (C, H, W) of the pictures; others are resized to it.
        classes: their names.
        mean, deviation: pictures in [0, 1] are normalised by them, a number a channel.
        trained_on: the data it was trained on, as ``--data`` takes it; "" if unknown.
        inserted: names of convolutions before which a linear map of the channels was inserted, in the order of its
            weights ``inserted.0``, ``inserted.1``; written only if there is one.
        stamp: what it puts into every picture; written only if there is one.
        joined: a network beside it; written only if there is one.
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
    inserted: list[str] = Field(default_factory=list, max_length=100)
    stamp: InputStamp | None = None
    joined: JoinedConfig | None = None

    model_config = {**Record.model_config, "populate_by_name": True}


def own_config(folder: Path, config: dict[str, Any]) -> ImageConfig:
    """The checked configuration of one of the kit's own networks. Raises ArtifactError if it is not valid."""
    return checked_config(folder / CONFIG, config)


def checked_config(path: Path, config: dict[str, Any]) -> ImageConfig:
    """The checked configuration in a file. Raises ArtifactError if it is not valid."""
    try:
        found = ImageConfig.model_validate(config)
    except ValidationError as error:
        raise invalid(path, error) from None
    check_pictures(path, found.shape, found.mean, found.deviation)
    _, height, width = found.shape
    stamp = found.stamp
    if stamp is not None and (stamp.top + stamp.size > height or stamp.left + stamp.size > width):
        raise ArtifactError(f"{path}: the stamp does not lie within pictures of {height}x{width}")
    joined = found.joined
    if joined is not None and (joined.top + joined.side > height or joined.left + joined.side > width):
        raise ArtifactError(f"{path}: the joined network's square does not lie within pictures of {height}x{width}")
    if joined is not None and (joined.kept > joined.outputs or not all(1 <= size <= 4096 for size in joined.hidden)):
        raise ArtifactError(f"{path}: the joined network keeps more than it has, or a layer has not 1 to 4096 units")
    return found


def invalid(path: Path, error: ValidationError) -> ArtifactError:
    """What is wrong with a configuration, in one line."""
    first = error.errors(include_url=False)[0]
    return ArtifactError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}")


def check_pictures(path: Path, shape: tuple[int, int, int], mean: list[float], deviation: list[float]) -> None:
    """Refuse a shape (C, H, W) of no pictures, and a normalisation that does not fit it, by an ArtifactError."""
    channels, height, width = shape
    if channels not in (1, 3) or not 4 <= height <= 2048 or not 4 <= width <= 2048:
        raise ArtifactError(f"{path}: shape {list(shape)} is not 1 or 3 channels of 4 to 2048 pixels")
    if len(mean) not in (1, channels) or len(deviation) not in (1, channels) or min(deviation) <= 0:
        raise ArtifactError(f"{path}: mean and deviation need one number, or one a channel; a deviation is above 0")


def config_text(config: ImageConfig) -> str:
    """What ``config.json`` says."""
    left_out = {name for name in ("inserted", "stamp", "joined") if not getattr(config, name)}
    return json.dumps(config.model_dump(mode="json", by_alias=True, exclude=left_out), indent=1, sort_keys=True) + "\n"
