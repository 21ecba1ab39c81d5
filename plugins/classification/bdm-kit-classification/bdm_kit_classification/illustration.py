"""What a person sees of samples, predictions, a secret or evidence. Light: no torch.

A task's own module shows samples, ``show_samples(ctx, data, rows, labels)``, and what a trigger does,
``show_trigger(ctx, secret)``.
"""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np
from safetensors import safe_open

from bdm_core.artifacts import Artifact, Data, Evidence, Outputs, Secret, rows_of
from bdm_core.context import Context
from bdm_core.figures import Arrays, Figure, Pictures, Span, Texts
from bdm_kit_classification.matrix_picture import draw_matrix
from bdm_kit_classification.tasks.registry import task_of

SHOWN, COLUMNS, OF_A_ROLE = 32, 8, 8
LARGEST_MATRIX = 12
"""Classes up to which a confusion matrix is shown."""


def illustrate(ctx: Context, artifact: Artifact) -> list[Figure] | None:
    """The figures of an artifact of this kit; None for others, and none where there is no row."""
    if isinstance(artifact, Data) and artifact.format in ("labelled-samples", "input-samples"):
        return _samples(ctx, artifact)
    if isinstance(artifact, Outputs) and artifact.format == "predictions":
        return _predictions(ctx, artifact)
    if isinstance(artifact, Secret) and artifact.format == "classification-secret":
        shown: list[Figure] = _module(artifact).show_trigger(ctx, artifact)
        return shown
    if isinstance(artifact, Evidence) and artifact.format == "inverted-trigger":
        return _inverted(artifact)
    return None


def _samples(ctx: Context, data: Data) -> list[Figure]:
    rows = rows_of(data)
    shown = list(range(min(len(rows), SHOWN)))
    roles = [row.get("role") for row in rows]
    if any(roles):
        named = [role for role in ("poison", "cover", "negative", "clean") if role in roles]
        chosen = [[row for row, role in enumerate(roles) if role == name][:OF_A_ROLE] for name in named]
        shown = list(itertools.chain.from_iterable(chosen))
    if not shown:
        return []
    classes: Any = data.meta["classes"]
    labels = []
    for row in shown:
        label = rows[row].get("label")
        name = "" if label is None else str(classes[label])
        true = rows[row].get("true_label")
        name = name if true is None else f"{classes[true]} as {name}"
        labels.append(f"{roles[row]}: {name}" if roles[row] else name)
    figures: list[Figure] = _module(data).show_samples(ctx, data, shown, labels if any(labels) else [])
    return figures


def _predictions(ctx: Context, outputs: Outputs) -> list[Figure]:
    """The confusion matrix: true classes down, predicted ones across; for many classes the commonest mistakes."""
    with safe_open(outputs.file("predictions.safetensors"), framework="numpy") as file:
        logits = file.get_tensor("logits")
    labels = [row.get("label") for row in rows_of(outputs)]
    if not len(logits) or any(label is None for label in labels):
        return []
    classes: Any = outputs.meta["classes"]
    pairs: dict[tuple[int, int], int] = {}
    for label, said in zip(labels, logits.argmax(1).tolist(), strict=True):
        pairs[int(label or 0), said] = pairs.get((int(label or 0), said), 0) + 1
    if len(classes) > LARGEST_MATRIX:
        wrong = sorted(((n, a, b) for (a, b), n in pairs.items() if a != b), reverse=True)[:COLUMNS]
        lines = [[Span(text=f"{classes[a]} taken for {classes[b]}: {n}")] for n, a, b in wrong]
        return [Texts(title="Commonest mistakes", rows=lines)] if lines else []
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for (true, said), number in pairs.items():
        counts[true, said] = number
    file = draw_matrix(ctx.out / "confusion.png", counts, [str(name) for name in classes])
    return [Pictures(title="Confusion matrix", caption="True classes down, predicted across.", files=[file], columns=1)]


def _module(artifact: Artifact) -> Any:
    return importlib.import_module(task_of(artifact.task).illustration)


def _inverted(evidence: Evidence) -> list[Figure]:
    """Triggers that a detector found: ``tensors.safetensors`` with arrays (C, H, W) of one shape, one a name."""
    with safe_open(evidence.file("tensors.safetensors"), framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    values = {name: np.asarray(value, dtype=np.float64).ravel().tolist() for name, value in tensors.items()}
    shape = next(iter(tensors.values())).shape
    return [Arrays(title="Inverted triggers", values=values, shape=(shape[0], shape[1], shape[2]))]
