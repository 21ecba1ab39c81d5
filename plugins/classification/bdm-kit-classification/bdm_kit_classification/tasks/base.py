"""What a task is to the kit before anything heavy is imported: names, folders, data. Light: no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from bdm_core.artifacts import Model
from bdm_core.records import BuiltIn


class Task(ABC):
    """A task of the kit. What needs torch is its modality's (:mod:`bdm_kit_classification.modalities.base`).

    Attributes:
        tag: of the task.
        about: what is classified, for messages, e.g. ``pictures``.
        modality: ``module:class`` of its modality.
        illustration: the module with ``show_samples`` and ``show_trigger``, see
            :mod:`bdm_kit_classification.illustration`.
        tiny: the name of its model and data for conformance tests.
        models: the built-in models, the default one first.
        data_sets: the built-in data sets, the default one first.
        folders: names of built-in models, the tiny one's too, and their folders.
        data: names of built-in data, the tiny ones too.
        architectures: names of the kit's own networks, by which ``config.json`` is known.
        ending: how the class of a transformers model of this task ends.
    """

    tag: ClassVar[str]
    about: ClassVar[str]
    modality: ClassVar[str]
    illustration: ClassVar[str]
    tiny: ClassVar[str]
    models: ClassVar[list[BuiltIn]]
    data_sets: ClassVar[list[BuiltIn]]
    folders: ClassVar[Mapping[str, str]]
    data: ClassVar[frozenset[str]]
    architectures: ClassVar[frozenset[str]]
    ending: ClassVar[str]

    def check_built_in(self, name: str, model: Model) -> None:
        """Whether a model takes a built-in data set. Raises UserError if it does not; any does by default."""
        return

    def takes(self, architecture: str) -> bool:
        """Whether a class of transformers, such as ``ViTForImageClassification``, is of this task."""
        return architecture.endswith(self.ending)

    @abstractmethod
    def kind_of(self, path: Path) -> str:
        """What form the data at a local path have, that are neither an artifact nor saved by the library datasets.

        Raises:
            UserError: none that this task reads.
        """
