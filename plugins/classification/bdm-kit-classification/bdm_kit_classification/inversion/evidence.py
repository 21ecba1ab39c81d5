"""Evidence of the format ``inverted-trigger``: what one detection hands to its own or to another plugin's repair.

``tensors.safetensors`` has a picture m p (C, H, W) in [0, 1] of each shown class, which the kit draws;
``inversion.safetensors`` has ``masks`` (K, 1, H, W), ``patterns`` (K, C, H, W) and ``success`` (K,) of all classes.
"""

from __future__ import annotations

from pathlib import Path

import torch

from bdm_core.artifacts import Evidence
from bdm_core.errors import ArtifactError
from bdm_core.records import Detection
from bdm_kit_classification.inversion.search import Inverted
from bdm_torch.tensors import read_tensors, write_tensors

FORMAT, PICTURES, TENSORS = "inverted-trigger", "tensors.safetensors", "inversion.safetensors"
SHOWN = 12
"""So many classes are drawn, those with the smallest masks."""


def seal_inverted(folder: Path, found: Inverted, order: list[int], classes: list[str], task: str) -> Evidence:
    """Write the triggers of all classes and seal the folder.

    Args:
        folder: where to.
        found: one trigger for each class.
        order: the classes, the most suspicious first.
        classes: their names.
        task: the task tag.

    >>> found = Inverted(torch.ones(3, 1, 2, 2), torch.zeros(3, 1, 2, 2), torch.ones(3))
    >>> evidence = seal_inverted(Path("evidence"), found, [1, 0, 2], ["a", "b", "c"], "image-classification")
    >>> sorted(evidence.files), evidence.meta["order"]
    (['inversion.safetensors', 'tensors.safetensors'], [1, 0, 2])
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = (found.masks * found.patterns).contiguous()
    pictures = {f"{rank + 1:02d} {classes[place]}": shown[place].clone() for rank, place in enumerate(order[:SHOWN])}
    write_tensors(folder / PICTURES, pictures)
    write_tensors(folder / TENSORS, {"masks": found.masks, "patterns": found.patterns, "success": found.success})
    return Evidence.seal(folder, format=FORMAT, task=task, meta={"order": list(order)})


def inverted_of(detection: Detection | None, classes: int) -> tuple[Inverted, list[int]] | None:
    """The triggers that a detection found, and the classes in order of suspicion; None if it found none of this kind.

    Raises:
        ArtifactError: they are damaged, or of a model with other classes.
    """
    evidence = detection.evidence if detection is not None else None
    if evidence is None or evidence.format != FORMAT or TENSORS not in evidence.files:
        return None
    path = evidence.file(TENSORS)
    tensors = read_tensors(path)
    order = evidence.meta.get("order")
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    known = set(shapes) == {"masks", "patterns", "success"} and {len(tensor) for tensor in tensors.values()} == {
        classes
    }
    if not known or not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(classes))):
        raise ArtifactError(f"{path} holds no triggers of {classes} classes: detect again")
    found = Inverted(*(tensors[name].to(torch.float32) for name in ("masks", "patterns", "success")))
    return found, [int(str(place)) for place in order]
