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

from torch import Tensor

from bdm_core.artifacts import Artifact
from bdm_core.errors import UserError

if TYPE_CHECKING:
    from bdm_kit_classification.models.classifier import Classifier
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
        measures: what :meth:`distances` and :meth:`learned_distances` measure, by name.
    """

    task: ClassVar[str]
    valid_range: ClassVar[tuple[float, float] | None] = None
    measures: ClassVar[Mapping[str, DistanceFacts]] = {}

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

    @abstractmethod
    def shape(self, stored: Any) -> list[int]:
        """What all samples have in common, for messages and manifests: (C, H, W) of pictures; [] if nothing."""

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

    @abstractmethod
    def open_classifier(self, folder: Path) -> Classifier:
        """The classifier of a model folder, on the CPU. Raises ArtifactError if it is none."""

    @abstractmethod
    def small_classifier(self, stored: Any, classes: list[str], seed: int) -> Classifier:
        """A small untrained classifier for samples like these, normalisation included: an attacker's surrogate."""

    @abstractmethod
    def export(self, folder: Path, stored: Any) -> list[dict[str, Any]]:
        """Write samples as files that other programs read, and give for each what its line in a table says.

        The keys are those that ``datasets`` expects: ``file_name`` for pictures, ``text`` for texts.
        """
