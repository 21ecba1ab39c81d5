"""Poisoned rows for other programs: a folder that ``datasets`` loads, with roles and true labels.

``python -m bdm_kit_classification.poison.export DATA OUT`` writes it from a sealed artifact; then
``datasets.load_dataset("imagefolder", data_dir=OUT)`` has the columns ``image``, ``label``, ``true_label``, ``role``
and ``row``, the number of the row in the artifact.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import get_args

from bdm_core.artifacts import Data, Role
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.recipes.command import one_line_errors


def export_rows(data: Data, folder: Path, roles: tuple[str, ...] = ()) -> int:
    """Write the rows of these roles (all by default) as files and ``metadata.jsonl``; how many they are.

    >>> import torch
    >>> from bdm_kit_classification.data.samples import LabelledSamples, seal_samples
    >>> rows = LabelledSamples(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), ["a", "b"],
    ...                        "image-classification", [{"role": "poison", "true_label": 1}, {"role": "clean"}])
    >>> export_rows(seal_samples(Path("data"), rows), Path("out"), ("poison",))
    1
    >>> print(Path("out/metadata.jsonl").read_text().strip())
    {"class": "a", "file_name": "images/000000.png", "label": 0, "role": "poison", "row": 0, "true_label": 1}
    """
    samples = open_samples(data)
    chosen = [row for row, role in enumerate(samples.roles) if not roles or role in roles]
    some = samples.pick(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    entries = some.modality.export(folder, some.stored)
    lines = []
    for row, entry, label, fact in zip(chosen, entries, some.labels.tolist(), some.facts, strict=True):
        known = {"row": row, "label": label, "class": some.classes[label], "role": fact.get("role", "clean")}
        lines.append(json.dumps({**entry, **known, "true_label": fact.get("true_label", label)}, sort_keys=True) + "\n")
    (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    return len(chosen)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path, help="a sealed artifact of training rows, e.g. .../poison-data/ab/abc/data")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument(
        "--role", action="append", default=[], choices=get_args(Role), help="only rows of this role; may be repeated"
    )
    given = parser.parse_args()
    with one_line_errors():
        print(f"{export_rows(Data.open(given.data), given.out, tuple(given.role))} rows in {given.out}")


if __name__ == "__main__":
    main()
