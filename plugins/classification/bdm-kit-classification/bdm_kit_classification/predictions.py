"""What a classifier says of samples, as an artifact: logits, features, and the label and id of each row."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from bdm_core.artifacts import Outputs, rows_of
from bdm_core.errors import ArtifactError
from bdm_kit_classification.data.samples import UNKNOWN, LabelledSamples
from bdm_kit_classification.training.fitting import Predictions
from bdm_torch.tensors import read_tensors, write_tensors

FORMAT, TENSORS = "predictions", "predictions.safetensors"


def seal_predictions(folder: Path, predictions: Predictions, samples: LabelledSamples) -> Outputs:
    """Write ``predictions.safetensors`` (``logits``, ``features``) and ``rows.jsonl``, and seal the folder.

    Args:
        folder: where to.
        predictions: one a sample.
        samples: what they are of; their labels and ids are kept, the samples are not.

    >>> rows = LabelledSamples(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([1, UNKNOWN]), ["a", "b"],
    ...                        "image-classification")
    >>> found = Predictions(logits=torch.zeros(2, 2), features=torch.ones(2, 5))
    >>> outputs = seal_predictions(Path("outputs"), found, rows)
    >>> outputs.meta["count"], sorted(outputs.files)
    (2, ['predictions.safetensors', 'rows.jsonl'])
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / TENSORS, {"logits": predictions.logits, "features": predictions.features})
    lines = []
    for label, fact in zip(samples.labels.tolist(), samples.facts, strict=True):
        known = {"label": str(label)} if label != UNKNOWN else {}  # as text: it is no output of the model
        lines.append(json.dumps({**known, **({"id": fact["id"]} if "id" in fact else {})}, sort_keys=True) + "\n")
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    meta = {"count": len(samples), "classes": list(samples.classes)}
    return Outputs.seal(folder, format=FORMAT, task=samples.task, meta=meta)  # type: ignore[arg-type]


def load_predictions(outputs: Outputs) -> Predictions:
    """Logits (N, K) and features (N, F). Raises ArtifactError if the outputs are of another format.

    >>> rows = LabelledSamples(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([1, UNKNOWN]), ["a", "b"],
    ...                        "image-classification")
    >>> found = Predictions(logits=torch.zeros(2, 2), features=torch.ones(2, 5))
    >>> loaded = load_predictions(seal_predictions(Path("outputs"), found, rows))
    >>> loaded.logits.shape, bool(torch.equal(loaded.features, found.features))
    (torch.Size([2, 2]), True)
    """
    if outputs.format != FORMAT:
        raise ArtifactError(f"{outputs.path} has the format {outputs.format!r}, expected {FORMAT!r}")
    tensors = read_tensors(outputs.file(TENSORS))
    return Predictions(tensors["logits"], tensors["features"])


def true_labels(outputs: Outputs) -> Tensor:
    """(N,) int64, the true label of each row; -1 where it is not known.

    >>> rows = LabelledSamples(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([1, UNKNOWN]), ["a", "b"],
    ...                        "image-classification")
    >>> found = Predictions(logits=torch.zeros(2, 2), features=torch.ones(2, 5))
    >>> true_labels(seal_predictions(Path("outputs"), found, rows)).tolist()
    [1, -1]
    """
    return torch.tensor([int(row.get("label", UNKNOWN)) for row in rows_of(outputs)], dtype=torch.int64)


def ids(outputs: Outputs) -> list[int]:
    """The number of each row's sample in the test part; triggered outputs and clean ones of one sample share it.

    -1 for a row that does not tell.

    >>> rows = LabelledSamples(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([1, 0]), ["a", "b"],
    ...                        "image-classification", [{"id": 7}, {}])
    >>> found = Predictions(logits=torch.zeros(2, 2), features=torch.ones(2, 5))
    >>> ids(seal_predictions(Path("outputs"), found, rows))
    [7, -1]
    """
    return [int(row.get("id", UNKNOWN)) for row in rows_of(outputs)]
