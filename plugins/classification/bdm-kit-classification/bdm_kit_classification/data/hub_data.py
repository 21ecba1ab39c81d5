"""Data sets of the library ``datasets``: saved folders, and ``hf:org/name@commit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bdm_core.errors import UserError
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.parts import Parts
from bdm_kit_classification.data.sources import Source
from bdm_torch.data_folders import HUB_PATTERNS
from bdm_torch.foreign_models import first_line
from bdm_torch.images import read_image
from bdm_torch.references import fetch_snapshot

TRAINING, TEST = ("train", "training"), ("test", "validation", "valid", "val")


def read_datasets(source: Source, shape: tuple[int, int, int], cache: Path) -> Parts:
    """Pictures and labels of a data set; the columns are found from its features.

    Raises:
        UserError: datasets is not installed; the data set has no column of pictures or none of classes, or several.
    """
    splits = open_splits(source, cache)
    training = next((splits[name] for name in TRAINING if name in splits), None) or next(iter(splits.values()))
    test = next((splits[name] for name in TEST if name in splits and splits[name] is not training), None)
    image, label, classes = _columns(source.name, training.features)
    pictures, labels = _rows(source.name, training, (image, label, len(classes)), shape)
    tested = None if test is None else _rows(source.name, test, (image, label, len(classes)), shape)
    return divide(pictures, labels, classes, tested)


def open_splits(source: Source, cache: Path) -> dict[str, Any]:
    """The splits of a data set by name.

    Raises:
        UserError: datasets is not installed, or cannot open it.
    """
    try:
        import datasets
    except ImportError:
        raise UserError(f"{source.name} needs datasets: pip install 'bdm-kit-classification[hub]'") from None
    try:
        if source.folder is not None:
            found = datasets.load_from_disk(str(source.folder))
        else:
            assert source.hub is not None
            folder = fetch_snapshot(source.hub, cache, HUB_PATTERNS, repo_type="dataset")
            files: dict[str, list[str]] = {}
            for path in sorted(folder.rglob("*.parquet")):
                names = (*TRAINING, *TEST)
                split = next((name for name in names if name in path.stem or name in path.parent.name), "train")
                files.setdefault(split, []).append(str(path))
            if not files:
                raise UserError(f"{source.name} has no parquet files")
            found = datasets.load_dataset("parquet", data_files=files, cache_dir=str(cache / "tables"))
    except UserError:
        raise
    except Exception as error:  # whatever the library makes of a damaged folder
        raise UserError(f"{source.name} cannot be opened by datasets: {first_line(error)}") from None
    return dict(found) if isinstance(found, dict) else {"train": found}


def _columns(name: str, features: Any) -> tuple[str, str, list[str]]:
    images = [column for column, feature in features.items() if type(feature).__name__ == "Image"]
    labels = [column for column, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    if len(images) != 1 or not labels:
        raise UserError(
            f"{name} has {len(images)} columns of pictures and {len(labels)} of classes "
            f"({', '.join(features)}): expected one of each"
        )
    label = "label" if "label" in labels else labels[0]
    return images[0], label, list(features[label].names)


def _rows(
    name: str, table: Any, columns: tuple[str, str, int], shape: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures and labels of the two columns, of so many classes."""
    import datasets

    image, label, classes = columns
    if image not in table.features or label not in table.features:
        raise UserError(f"{name}: its test part has not the columns {image} and {label}")
    plain = table.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
    stored = np.empty((len(plain), *shape), dtype=np.uint8)
    labels = []
    for row, entry in enumerate(plain):
        content = (entry[image] or {}).get("bytes")
        if content is None:
            raise UserError(f"row {row} of {name} points to a file instead of holding a picture: refused")
        stored[row] = read_image(content, shape, f"in row {row} of {name}")
        if not isinstance(entry[label], int) or not 0 <= entry[label] < classes:
            raise UserError(f"row {row} of {name} has the class {entry[label]!r:.40}: expected 0 to {classes - 1}")
        labels.append(entry[label])
    return torch.from_numpy(stored), torch.tensor(labels, dtype=torch.int64)
