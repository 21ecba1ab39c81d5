"""Task -> modality. A modality is imported when a task first asks for it."""

from __future__ import annotations

import importlib

from bdm_core.errors import ArtifactError
from bdm_kit_classification.modalities.base import Modality
from bdm_kit_classification.tasks.registry import TASKS

MODALITIES: dict[str, str] = {tag: task.modality for tag, task in TASKS.items()}
"""Task -> ``module:class``."""


def modality_of(task: str) -> Modality:
    """The modality of a task.

    Raises:
        ArtifactError: the kit does not serve it.

    >>> modality_of("image-classification").valid_range
    (0.0, 1.0)
    """
    if task not in MODALITIES:
        raise ArtifactError(f"the kit classification does not serve {task}: it serves {', '.join(sorted(MODALITIES))}")
    module, _, name = MODALITIES[task].partition(":")
    modality: Modality = getattr(importlib.import_module(module), name)()
    return modality
