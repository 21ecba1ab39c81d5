"""What a modality is: the little that differs between pictures, text and sound.

Samples come in two forms. *Stored* ones are what lies in memory and in files: uint8 pictures, texts, int16 sound. *Raw*
ones are what triggers change, in the valid range of the modality: float32 pictures in [0, 1], texts, float32 sound in
[-1, 1]. The engine never looks into either: it hands stored samples to :meth:`Modality.unpack`, raw ones to triggers,
and raw ones to :meth:`Modality.collate`, which makes the tensor that a classifier takes. Batches of all three are of
one length.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from bdm_core.artifacts import Artifact
from bdm_core.errors import UserError
from bdm_kit_classification.noise.kind import Noise

if TYPE_CHECKING:
    from bdm_core.artifacts import Model
    from bdm_kit_classification.data.parts import Parts
    from bdm_kit_classification.data.sources import Source
    from bdm_kit_classification.models.classifier import Classifier
    from bdm_kit_classification.triggers.trigger import Trigger
    from bdm_torch.draws import Draw


class DistanceFacts(NamedTuple):
    """What a distance means: a label for tables, a sentence with unit and range, and whether more is stealthier."""

    label: str
    description: str
    more_is_stealthier: bool


class Modality(ABC):
    """The facets of a modality. An instance has no state.

    Attributes:
        task: the tag of its task.
        valid_range: of raw samples, ``(low, high)``; None if they are no numbers.
        measures: what :meth:`distances`, :meth:`learned_distances` and :meth:`fitted_distances` measure, by name.
        noises: the kinds of data noise that an experiment may add, by name.
        row_key: the key under which a stored sample stands in its row's line of JSON, such as ``text``; "" if samples
            lie in a file of their own (:meth:`write`).
    """

    task: ClassVar[str]
    valid_range: ClassVar[tuple[float, float] | None] = None
    measures: ClassVar[Mapping[str, DistanceFacts]] = {}
    noises: ClassVar[Mapping[str, Noise]] = {}
    row_key: ClassVar[str] = ""

    @abstractmethod
    def unpack(self, stored: Any) -> Any:
        """Stored samples as raw ones."""

    @abstractmethod
    def pack(self, raw: Any) -> Any:
        """Raw samples as stored ones: brought into the valid range and to the precision of the files."""

    @abstractmethod
    def take(self, stored: Any, rows: Sequence[int]) -> Any:
        """Chosen stored samples, in this order; a row may come several times, and there may be none."""

    @abstractmethod
    def join(self, parts: Sequence[Any]) -> Any:
        """Stored samples of several batches of one shape, one after the other; at least one batch."""

    def same(self, one: Any, other: Any) -> list[bool]:
        """Whether two batches of stored samples are equal, row by row."""
        return [bool((a == b).all()) if isinstance(a, Tensor) else a == b for a, b in zip(one, other, strict=True)]

    @abstractmethod
    def shape(self, stored: Any) -> list[int]:
        """What all samples have in common, for messages and manifests: (C, H, W) of pictures; [] if nothing."""

    def facts(self, stored: Any) -> dict[str, Any]:
        """What else all samples have in common, for manifests; a model that says otherwise takes no such samples."""
        return {}

    @abstractmethod
    def write(self, folder: Path, name: str, stored: Any) -> None:
        """Write stored samples into ``folder`` under ``name``, in a file that is no pickle."""

    @abstractmethod
    def read(self, artifact: Artifact, name: str) -> Any:
        """Stored samples that :meth:`write` wrote. Raises ArtifactError if they are missing or damaged."""

    @abstractmethod
    def collate(self, raw: Any, classifier: Classifier) -> Tensor:
        """Raw samples as the tensor that the classifier takes, on its device.

        Where raw samples are tensors it is differentiable.
        """

    def beside(self, one: Tensor, other: Tensor) -> Tensor:
        """What :meth:`collate` gave for two batches as one batch."""
        return torch.cat([one, other])

    def augment(self, inputs: Tensor, draw: Draw, shift: int, flip: bool) -> Tensor:
        """Inputs of a training batch, changed at random; every call advances ``draw``. As they are by default."""
        return inputs

    def distort(self, inputs: Tensor, draw: Draw, strength: float) -> Tensor:
        """Inputs changed strongly at random so that they still show the same, for contrastive learning.

        Args:
            inputs: of a training batch, (b, ...).
            draw: every call advances it.
            strength: 0 leaves them as they are, 1 is usual.

        Raises:
            UserError: the modality has no such changes.
        """
        raise UserError(f"{self.task} has no strong random changes: contrastive learning is for other tasks")

    @abstractmethod
    def mix(self, one: Any, other: Any, share: float) -> Any:
        """Raw samples that are both: a ``share`` in [0, 1] of the first and the rest of the second (for STRIP)."""

    @abstractmethod
    def perturb(self, raw: Any, strength: float, seed: int) -> Any:
        """Raw samples with noise of the modality's own kind; 0 is none, 1 drowns them."""

    @abstractmethod
    def distances(self, clean: Any, changed: Any) -> Mapping[str, Tensor]:
        """How far each raw sample is from its clean one: name of the measure -> (N,) float32."""

    def learned_distances(self, clean: Any, changed: Any, device: str) -> Mapping[str, Tensor]:
        """As :meth:`distances`, by networks that an extra brings; none by default.

        Raises:
            UserError: the extra is not installed, or its weights cannot be had.
        """
        return {}

    def fitted_distances(self, clean: Any, changed: Any, others: Any) -> Mapping[str, Tensor]:
        """As :meth:`distances`, by a model that is fitted on other raw samples, all of them clean; none by default."""
        return {}

    @abstractmethod
    def open_classifier(self, folder: Path) -> Classifier:
        """The classifier of a model folder, on the CPU. Raises ArtifactError if it is none."""

    @abstractmethod
    def small_classifier(self, stored: Any, classes: list[str], seed: int) -> Classifier:
        """A small untrained classifier for samples like these, normalisation included: an attacker's surrogate."""

    @abstractmethod
    def export(self, folder: Path, stored: Any) -> list[dict[str, Any]]:
        """Write samples as files that other programs read, and give for each what its line in a table says.

        The keys are those that ``datasets`` expects: ``file_name`` for pictures and sound, ``text`` for texts.
        """

    def load(self, source: Source, model: Model, cache: Path, size: int | None) -> Parts:
        """Data from anything but an artifact: built-in, from files, or of the library datasets.

        Args:
            source: where they are.
            model: its manifest says what it takes.
            cache: where a download may be kept meanwhile.
            size: height and width of pictures from files; None for the model's.

        Raises:
            UserError: a sample cannot be read, there are no classes, or too few rows.
        """
        raise NotImplementedError(f"the modality of {self.task} reads no data")

    def example(self, model: Model) -> tuple[Any, Trigger]:
        """Two stored samples that the model takes and a trigger that changes them, for the conformance of metrics."""
        raise NotImplementedError(f"the modality of {self.task} has no example")
