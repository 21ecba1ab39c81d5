"""Bring data into an artifact: three disjoint parts in the form that the model takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Data, Model
from bdm_core.errors import UserError
from bdm_kit_classification.data.class_names import matching, relabelled
from bdm_kit_classification.data.grouping import GROUP
from bdm_kit_classification.data.parts import Parts
from bdm_kit_classification.data.samples import RESERVE, TEST, TRAINING, LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.data.sources import Source, find_data
from bdm_kit_classification.modalities.registry import modality_of
from bdm_kit_classification.noise.drawing import realised


def open_data(
    source: Source,
    model: Model,
    folder: Path,
    cache: Path,
    *,
    most: int | None = None,
    size: int | None = None,
    noise: Callable[[LabelledSamples], LabelledSamples] | None = None,
) -> Data:
    """Read data and seal them in ``folder``.

    Args:
        source: see :func:`bdm_kit_classification.data.sources.find_data`.
        model: its manifest has task, shape and classes.
        folder: where to.
        cache: where a download may be kept meanwhile.
        most: keep at most so many training rows.
        size: height and width of the pictures of folders; None for the model's.
        noise: adds noise to the training rows; nothing else has any.

    Raises:
        UserError: a broken sample, no classes, other classes than the model's, too few rows; or data that depend on
            what is installed, and the model was trained on others of the name. Classes of the same names in another
            order get the model's numbers.
    """
    rows, parts, fingerprint = _read(source, model, cache, size)
    _check_fingerprint(source, model, fingerprint)
    classes: Any = model.meta["classes"]
    if len(rows.classes) != len(classes):
        raise UserError(
            f"{source.name} has {len(rows.classes)} classes, the model {len(classes)}: "
            "choose other data with --data, or another model with --model"
        )
    numbers = matching(rows.classes, classes, source.name)
    if numbers != list(range(len(numbers))):
        rows = relabelled(rows, numbers, classes)
        parts = {name: relabelled(part, numbers, classes) for name, part in parts.items()}
    if most is not None and most < len(rows):
        rows = rows.pick(range(most))
    if noise is not None:
        rows = noise(rows)
    found = realised(rows)
    meta = {
        "source": source.name,
        **({"fingerprint": fingerprint} if fingerprint else {}),
        **({"noise": found} if found else {}),
    }
    return seal_samples(folder, rows, parts=parts, meta=meta)


def open_rows(reference: str, model: Model, cache: Path) -> LabelledSamples:
    """All rows of some data, in the form that a model takes, whichever classes they have: training, reserve, test.

    For what is measured on others than the model's classes, such as verification of further speakers.

    Args:
        reference: as ``--data`` takes it.
        model: its manifest has task and shape.
        cache: where a download may be kept meanwhile.

    Raises:
        UserError: there are no such data, a sample is broken, there are too few rows, or sealed ones have another form.
    """
    source = find_data(reference, model)
    rows, parts, _ = _read(source, model, cache, None)
    shape = rows.modality.shape(rows.stored)
    if shape != model.meta.get("shape", shape):
        raise UserError(
            f"{source.name} has the shape {shape}, the model takes {model.meta['shape']}: choose other data"
        )
    for part in parts.values():
        rows = rows.followed_by(part)
    return rows


def _read(
    source: Source, model: Model, cache: Path, size: int | None
) -> tuple[LabelledSamples, dict[str, LabelledSamples], str]:
    """Training rows, the further parts by name, and the fingerprint; of the model's modality and kind."""
    parts: dict[str, LabelledSamples] = {}
    if source.kind == "sealed":
        assert source.folder is not None
        data = Data.open(source.folder)
        if data.format != TRAINING or data.task != model.task:
            raise UserError(f"{source.folder} holds {data.format!r} of {data.task}, expected {TRAINING!r}")
        rows = open_samples(data)
        parts = {name: open_samples(data, name) for name in (RESERVE, TEST) if name in data.meta}
        fingerprint = str(data.meta.get("fingerprint", ""))
    else:
        read: Parts = modality_of(model.task).load(source, model, cache, size)
        fingerprint = read.fingerprint
        rows, parts[RESERVE], parts[TEST] = (
            LabelledSamples(stored, labels, read.classes, model.task, [{"id": row} for row in range(len(labels))])
            for stored, labels in read[:3]
        )
        for fact, group in zip(parts[RESERVE].facts, read.groups, strict=False):
            fact[GROUP] = group
    for name, value in rows.modality.facts(rows.stored).items():
        if model.meta.get(name, value) != value:
            raise UserError(
                f"{source.name} has a {name} of {value}, the model one of {model.meta[name]}: "
                "choose other data with --data, or another model with --model"
            )
    return rows, parts, fingerprint


def _check_fingerprint(source: Source, model: Model, fingerprint: str) -> None:
    """Other installed packages make other rows under the same name: what is tested may have been trained on."""
    known = model.meta.get("fingerprint")
    if known and fingerprint and _hash(known) != _hash(fingerprint) and model.meta.get("trained_on") == source.name:
        raise UserError(
            f"{source.name} here is {fingerprint}, the model was trained on {known}: the same name stands for other "
            "rows; train a clean model on these (the kit's README says how), or choose other data with --data"
        )


def _hash(fingerprint: object) -> str:
    """The first word of a fingerprint: the hash of the rows; the rest says of which versions they came."""
    return str(fingerprint).partition(" ")[0]


def open_reference(reference: str | None, model: Model, folder: Path, cache: Path) -> Data:
    """:func:`open_data` of a reference as ``--data`` takes it."""
    return open_data(find_data(reference, model), model, folder, cache)
