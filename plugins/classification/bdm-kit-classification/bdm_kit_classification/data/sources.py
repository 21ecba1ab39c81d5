"""What a reference to data stands for, found before anything is read. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_core.files import MANIFEST, existing
from bdm_kit_classification.catalogue import BUILTIN_DATA, TINY
from bdm_kit_classification.data.layouts import layout_of
from bdm_torch.references import HubReference, parse_hub_reference, suggest

DATASET_FILES = ("dataset_info.json", "dataset_dict.json")
"""What ``save_to_disk`` of the library datasets leaves in a folder."""
Kind = Literal["built-in", "sealed", "classes", "datasets", "hub", "cifar", "gtsrb", "tiny-imagenet"]


@dataclass(frozen=True)
class Source:
    """Where data come from.

    Attributes:
        kind: ``built-in``; ``sealed``: an artifact; ``classes``: a folder with a sub-folder a class; ``datasets``: a
            folder of the library datasets; ``hub``: a data set of the Hub; ``cifar``, ``gtsrb``, ``tiny-imagenet``: a
            folder in the layout of this data set.
        name: as it was given, or the built-in name.
        folder: the local folder, if it is one.
        hub: the data set of the Hub, if it is one.
    """

    kind: Kind
    name: str
    folder: Path | None = None
    hub: HubReference | None = None


def find_data(reference: str | None, model: Model) -> Source:
    """What a reference stands for; None is the data that the model was trained on.

    Raises:
        UserError: there are no such data; or none were named, and the model does not say which it was trained on.
    """
    name = reference or str(model.meta.get("trained_on") or "")
    if not name:
        raise UserError("the model does not say which data it was trained on: name them with --data")
    if name in BUILTIN_DATA:
        shape: Any = model.meta["shape"]
        if shape[0] != BUILTIN_DATA[name][0]:
            raise UserError(
                f"the model takes pictures of shape {shape}, {name} has {list(BUILTIN_DATA[name])}: "
                "choose other data with --data, or another model with --model"
            )
        return Source("built-in", name)
    if (hub := parse_hub_reference(name)) is not None:
        return Source("hub", name, hub=hub)
    folder = existing(name)
    if folder is None or not folder.is_dir():
        raise UserError(f"no data {name!r}: {suggest(name, [key for key in BUILTIN_DATA if key != TINY])}")
    if (folder / MANIFEST).is_file():
        return Source("sealed", name, folder)
    if any((folder / file).is_file() for file in DATASET_FILES):
        return Source("datasets", name, folder)
    if (layout := layout_of(folder)) is not None:
        return Source(layout, name, folder)
    if not any(path.is_dir() for path in folder.iterdir()):
        raise UserError(f"{folder} holds no data: expected a sub-folder for each class, or a data set of datasets")
    return Source("classes", name, folder)
