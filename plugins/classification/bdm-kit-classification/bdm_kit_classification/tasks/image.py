"""The task of pictures. Light: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_core.records import BuiltIn
from bdm_kit_classification import catalogue
from bdm_kit_classification.data.layouts import layout_of
from bdm_kit_classification.tasks.base import Task
from bdm_torch.data_folders import subfolders


class ImageTask(Task):
    """Classifiers of pictures."""

    tag = catalogue.IMAGE_TASK
    about = "pictures"
    modality = "bdm_kit_classification.modalities.image:Images"
    illustration = "bdm_kit_classification.image_illustration"
    tiny = catalogue.TINY
    models: ClassVar[list[BuiltIn]] = catalogue.MODELS
    data_sets: ClassVar[list[BuiltIn]] = catalogue.DATA_SETS
    folders = catalogue.BUILTIN_MODELS
    data = frozenset(catalogue.BUILTIN_DATA)
    architectures = frozenset({"cnn", "cnn-wide", "preact-resnet18", "preact-resnet18-published", "vgg19-bn"})
    ending = "ForImageClassification"

    def check_built_in(self, name: str, model: Model) -> None:
        """The channels must fit."""
        shape: Any = model.meta["shape"]
        if shape[0] != catalogue.BUILTIN_DATA[name][0]:
            raise UserError(
                f"the model takes pictures of shape {shape}, {name} has {list(catalogue.BUILTIN_DATA[name])}: "
                "choose other data with --data, or another model with --model"
            )

    def kind_of(self, path: Path) -> str:
        """A published layout, or ``classes``."""
        if path.is_dir() and (layout := layout_of(path)) is not None:
            return layout
        if not path.is_dir() or not subfolders(path):
            raise UserError(f"{path} holds no data: expected a sub-folder for each class, or a data set of datasets")
        return "classes"
