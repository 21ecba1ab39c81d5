"""The tasks by tag. Light: no torch."""

from __future__ import annotations

from bdm_core.errors import ArtifactError
from bdm_kit_classification.tasks.audio import AudioTask
from bdm_kit_classification.tasks.base import Task
from bdm_kit_classification.tasks.image import ImageTask
from bdm_kit_classification.tasks.text import TextTask

TASKS: dict[str, Task] = {task.tag: task for task in (ImageTask(), TextTask(), AudioTask())}
"""Tag -> task; the first one's default model is the kit's."""


def task_of(tag: str) -> Task:
    """The task of a tag.

    Raises:
        ArtifactError: the kit does not serve it.

    >>> task_of("image-classification").about
    'pictures'
    """
    if tag not in TASKS:
        raise ArtifactError(f"the kit classification does not serve {tag}: it serves {', '.join(sorted(TASKS))}")
    return TASKS[tag]
