"""The built-in data sets by name."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bdm_kit_diffusion.catalogue import SHAPES_DATA
from bdm_kit_diffusion.data.shapes import load_shapes
from bdm_torch.images import from_bytes, to_bytes


def load_digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's handwritten digits: images (1797, 1, 8, 8) in [-1, 1] at 8-bit levels, labels (1797,) int64.

    >>> images, labels = load_digits()
    >>> images.shape, labels[:4].tolist()
    (torch.Size([1797, 1, 8, 8]), [0, 1, 2, 3])
    """
    table = torch.from_numpy(_digits_table())
    return from_bytes(to_bytes(table[:, :64].reshape(-1, 1, 8, 8) / 8 - 1)), table[:, 64].long()


def _digits_table() -> np.ndarray[Any, np.dtype[np.float64]]:
    """(1797, 65): 64 pixels from 0 to 16 and the label. Importing scikit-learn takes longer than reading its file."""
    found = importlib.util.find_spec("sklearn")
    for place in (found.submodule_search_locations or []) if found is not None else []:
        file = Path(place) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            with gzip.open(file, "rt") as stream:
                return np.loadtxt(stream, delimiter=",")
    from sklearn.datasets import load_digits as bundled

    images, labels = bundled(return_X_y=True)
    return np.column_stack([images, labels])


def load_builtin(name: str) -> tuple[Tensor, list[dict[str, Any]]]:
    """A built-in data set by name: images (N, C, H, W) in [-1, 1], and what each shows; all have a ``label``.

    ``digits`` are 1797 pictures 1x8x8 of ten classes, ``shapes`` 2048 pictures 3x16x16 of eight.

    >>> images, rows = load_builtin("shapes")
    >>> images.shape, sorted(rows[0])
    (torch.Size([2048, 3, 16, 16]), ['background', 'colour', 'label', 'object'])
    """
    if name == SHAPES_DATA:
        shapes = load_shapes()
        return shapes.images, shapes.rows()
    images, labels = load_digits()
    return images, [{"label": int(label)} for label in labels]
