"""The configuration of networks of timm, as timm writes it. Light: no torch, no timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from bdm_core.artifacts import Record
from bdm_core.errors import ArtifactError
from bdm_kit_classification.models.folders import CONFIG
from bdm_kit_classification.models.image_folder import check_pictures, invalid


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


def timm_config(folder: Path, config: dict[str, Any]) -> TimmConfig:
    """The checked configuration of a network of timm. Raises ArtifactError if it is not valid."""
    path = folder / CONFIG
    try:
        found = TimmConfig.model_validate(config)
    except ValidationError as error:
        raise invalid(path, error) from None
    normal = found.pretrained_cfg
    check_pictures(path, normal.input_size, normal.mean, normal.std)
    if len(found.classes) != found.num_classes:
        raise ArtifactError(f"{path}: num_classes is {found.num_classes}, label_names has {len(found.classes)}")
    return found
