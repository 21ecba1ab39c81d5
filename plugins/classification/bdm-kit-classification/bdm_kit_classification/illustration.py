"""What a person sees of samples, predictions, a secret or evidence. Light: no torch."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

from bdm_core.artifacts import Artifact, Data, Evidence, Outputs, Secret, rows_of
from bdm_core.context import Context
from bdm_core.figures import Arrays, Figure, Pictures, Span, Texts
from bdm_kit_classification.matrix_picture import draw_matrix

SHOWN, COLUMNS, OF_A_ROLE = 32, 8, 8
LARGEST_MATRIX = 12
"""Classes up to which a confusion matrix is shown."""
Levels = np.ndarray[Any, Any]


def illustrate(ctx: Context, artifact: Artifact) -> list[Figure] | None:
    """The figures of an artifact of this kit; None for others, and none where there is no row."""
    if isinstance(artifact, Data) and artifact.format in ("labelled-samples", "input-samples"):
        return _samples(ctx, artifact)
    if isinstance(artifact, Outputs) and artifact.format == "predictions":
        return _predictions(ctx, artifact)
    if isinstance(artifact, Secret) and artifact.format == "classification-secret":
        return _secret(ctx, artifact)
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
    files = _write(ctx.out, "sample", _read(data.file("samples.safetensors"))[shown])
    return [Pictures(files=files, labels=labels if any(labels) else [], columns=COLUMNS)]


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


def _secret(ctx: Context, secret: Secret) -> list[Figure]:
    clean, changed = (_read(secret.file(f"example_{name}.safetensors")) for name in ("clean", "triggered"))
    if not len(clean):
        return []
    residual = changed.astype(np.int16) - clean.astype(np.int16)
    most = max(1, int(np.abs(residual).max()))
    shown = (127.5 + residual * (127.5 / most)).round().astype(np.uint8)
    files = _write(ctx.out, "trigger", np.concatenate([clean, changed, shown], axis=3))
    caption = "The same samples without and with the trigger, and what it changes, around grey, times "
    caption += f"{127.5 / most:.1f}."
    return [Pictures(title="Trigger", caption=caption, files=files, columns=1)]


def _inverted(evidence: Evidence) -> list[Figure]:
    """Triggers that a detector found: ``tensors.safetensors`` with arrays (C, H, W) of one shape, one a name."""
    with safe_open(evidence.file("tensors.safetensors"), framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    values = {name: np.asarray(value, dtype=np.float64).ravel().tolist() for name, value in tensors.items()}
    shape = next(iter(tensors.values())).shape
    return [Arrays(title="Inverted triggers", values=values, shape=(shape[0], shape[1], shape[2]))]


def _read(path: Path) -> Levels:
    with safe_open(path, framework="numpy") as file:
        found: Levels = file.get_tensor("samples")
        return found


def _write(folder: Path, name: str, levels: Levels) -> list[Path]:
    """PNG files of (N, C, H, W) 8-bit levels; of more than three channels the first three, of two the first."""
    files = []
    for index, picture in enumerate(levels[:, : 3 if levels.shape[1] >= 3 else 1].transpose(0, 2, 3, 1)):
        files.append(folder / f"{name}-{index:02d}.png")
        Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(files[-1])
    return files
