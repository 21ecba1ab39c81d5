"""Labelled samples in memory and as artifacts: training data with their reserve and test parts, and inputs.

Training data (format ``labelled-samples``) hold the training rows; ``meta["reserve"]`` of them more belong to the
defender, who gets rows from there and from nowhere else, and ``meta["test"]`` are for evaluation. The three parts are
disjoint, and poisoned data have the first alone. Evaluation inputs have the format ``input-samples``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Data
from bdm_core.errors import ArtifactError
from bdm_kit_classification.data.absent import require_present
from bdm_kit_classification.modalities.base import Modality
from bdm_kit_classification.modalities.registry import modality_of
from bdm_kit_classification.models.classifier import batches

TRAINING, INPUTS = "labelled-samples", "input-samples"
ROWS_PART, RESERVE, TEST = "samples", "reserve", "test"
UNKNOWN = -1
"""The label of a row that does not tell."""


@dataclass(frozen=True, eq=False)
class LabelledSamples:
    """Samples with their labels and what else is known of each.

    Attributes:
        stored: as the modality stores them: uint8 (N, C, H, W) of pictures.
        labels: (N,) int64; :data:`UNKNOWN` where a row does not tell.
        classes: names of the classes.
        task: the task tag.
        facts: the further facts of each row (``id``, ``role``, ``true_label``).

    >>> pictures = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    >>> rows = LabelledSamples(pictures, torch.tensor([0, 1, 1]), ["no", "yes"], "image-classification")
    >>> len(rows), rows.raw([2, 0]).shape, rows.rows_of_class(1)
    (3, torch.Size([2, 1, 8, 8]), [1, 2])
    >>> rows.pick([2, 0]).labels.tolist()
    [1, 0]
    """

    stored: Any
    labels: Tensor
    classes: list[str]
    task: str
    facts: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.facts:
            object.__setattr__(self, "facts", [{} for _ in range(len(self.labels))])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def modality(self) -> Modality:
        """That of the task."""
        return modality_of(self.task)

    @property
    def roles(self) -> list[str]:
        """The role of each row; ``clean`` where none is told."""
        return [str(fact.get("role", "clean")) for fact in self.facts]

    def raw(self, rows: Sequence[int] | Tensor | None = None) -> Any:
        """Raw samples of chosen rows, or of all: float32 (n, C, H, W) in [0, 1] of pictures."""
        chosen = self.stored if rows is None else self.modality.take(self.stored, _numbers(rows))
        return self.modality.unpack(chosen)

    def split(self, size: int = 256) -> Iterator[tuple[list[int], Any]]:
        """All rows, ``size`` at a time: their numbers and their raw samples."""
        for rows in batches(len(self), size):
            yield list(rows), self.raw(list(rows))

    def rows_of_class(self, label: int) -> list[int]:
        """The rows with this label, in order."""
        return [int(row) for row in (self.labels == label).nonzero().flatten()]

    def pick(self, rows: Sequence[int] | Tensor) -> LabelledSamples:
        """Chosen rows, in this order."""
        chosen = _numbers(rows)
        labels = self.labels[torch.as_tensor(chosen, dtype=torch.int64)]
        facts = [dict(self.facts[row]) for row in chosen]
        return replace(self, stored=self.modality.take(self.stored, chosen), labels=labels, facts=facts)

    def changed(self, rows: Sequence[int], raw: Any, labels: Mapping[int, int] | None = None) -> LabelledSamples:
        """With other samples in some rows, and other labels where ``labels`` (row -> label) says so."""
        modality = self.modality
        order = list(range(len(self)))
        for place, row in enumerate(rows):
            order[row] = len(self) + place
        stored = modality.take(modality.join([self.stored, modality.pack(raw)]), order) if len(rows) else self.stored
        new = self.labels.clone()
        for row, label in (labels or {}).items():
            new[row] = label
        return replace(self, stored=stored, labels=new, facts=[dict(fact) for fact in self.facts])

    def followed_by(self, other: LabelledSamples) -> LabelledSamples:
        """These rows, then the others."""
        return replace(
            self,
            stored=self.modality.join([self.stored, other.stored]),
            labels=torch.cat([self.labels, other.labels]),
            facts=[dict(fact) for fact in (*self.facts, *other.facts)],
        )


def _numbers(rows: Sequence[int] | Tensor) -> list[int]:
    if isinstance(rows, Tensor):
        rows = rows.nonzero().flatten() if rows.dtype == torch.bool else rows
        return [int(row) for row in rows]
    return list(rows)


def seal_samples(
    folder: Path,
    samples: LabelledSamples,
    *,
    format: str = TRAINING,
    parts: Mapping[str, LabelledSamples] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Data:
    """Write samples and seal the folder; whatever files lie there already are sealed with it.

    Args:
        folder: where to.
        samples: the rows.
        format: :data:`TRAINING` or :data:`INPUTS`.
        parts: further rows by name, ``reserve`` and ``test``.
        meta: further facts for the manifest.

    >>> pictures = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    >>> rows = LabelledSamples(pictures, torch.tensor([0, 1, 1]), ["no", "yes"], "image-classification")
    >>> data = seal_samples(Path("data"), rows, parts={"test": rows.pick([0])})
    >>> data.meta["count"], data.meta["test"], open_samples(data).labels.tolist(), len(open_samples(data, "test"))
    (3, 1, [0, 1, 1], 1)
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"count": len(samples), "classes": samples.classes}
    facts |= {"shape": samples.modality.shape(samples.stored), **samples.modality.facts(samples.stored)}
    for name, part in {ROWS_PART: samples, **(parts or {})}.items():
        modality, shown = part.modality, [dict(fact) for fact in part.facts]
        if modality.row_key:
            for fact, sample in zip(shown, part.stored, strict=True):
                fact[modality.row_key] = sample
        else:
            modality.write(folder, name, part.stored)
        lines = [
            json.dumps({**({"label": int(label)} if label != UNKNOWN else {}), **fact}, sort_keys=True) + "\n"
            for label, fact in zip(part.labels.tolist(), shown, strict=True)
        ]
        (folder / _rows_file(name)).write_text("".join(lines), encoding="utf-8")
        if name != ROWS_PART:
            facts[name] = len(part)
    return Data.seal(folder, format=format, task=samples.task, meta={**facts, **(meta or {})})


def open_samples(data: Data, part: str = ROWS_PART) -> LabelledSamples:
    """The rows of sealed data, or one of its further parts.

    Args:
        data: of the format :data:`TRAINING` or :data:`INPUTS`.
        part: :data:`ROWS_PART`, or the name of a further part, such as ``reserve`` or ``test``.

    Raises:
        UserError: nobody said which data are meant.
        ArtifactError: the data are of another format, lack the part, or are damaged.

    >>> rows = LabelledSamples(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([1, UNKNOWN]), ["no", "yes"],
    ...                        "image-classification", [{"id": 7}, {"id": 9}])
    >>> opened = open_samples(seal_samples(Path("inputs"), rows, format=INPUTS))
    >>> opened.raw().shape, opened.labels.tolist(), opened.facts[0]
    (torch.Size([2, 1, 8, 8]), [1, -1], {'id': 7})
    """
    require_present(data)
    if data.format not in (TRAINING, INPUTS):
        raise ArtifactError(f"{data.path} has the format {data.format!r}, expected {TRAINING!r} or {INPUTS!r}")
    classes: Any = data.meta["classes"]
    path = data.file(_rows_file(part))
    try:
        facts = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        labels = torch.tensor([int(fact.pop("label", UNKNOWN)) for fact in facts], dtype=torch.int64)
    except (ValueError, AttributeError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged: {error}") from None
    if len(labels) and int(labels.max()) >= len(classes):
        raise ArtifactError(f"{path} has the label {int(labels.max())}, there are {len(classes)} classes")
    modality = modality_of(data.task)
    if modality.row_key:
        stored: Any = [fact.pop(modality.row_key, None) for fact in facts]
        if not all(isinstance(sample, str) for sample in stored):
            raise ArtifactError(f"{path} is damaged: a row has no {modality.row_key}")
    else:
        stored = modality.read(data, part)
    if len(stored) != len(labels):
        raise ArtifactError(f"{data.path} holds {len(stored)} samples and {len(labels)} rows in its part {part!r}")
    return LabelledSamples(stored, labels, list(classes), data.task, facts)


def _rows_file(part: str) -> str:
    return "rows.jsonl" if part == ROWS_PART else f"{part}.jsonl"
