"""Training rows that a detector flags without clean rows to set a threshold by, and the rows of such a detection."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_core.errors import StageError
from bdm_core.records import Detection


def rows_above(scores: Tensor, share: float, what: str, network_evaluations: int | None = None) -> Detection:
    """The detection that flags a given share of the rows, those with the highest scores.

    For methods that have no clean rows: the threshold lies between the last row flagged and the first that is not.

    Args:
        scores: (N,) of all rows, higher is more suspicious.
        share: of the rows that is flagged.
        what: what the flagged rows are, for the note.
        network_evaluations: forward passes spent, counted per sample.

    Raises:
        StageError: a score is not finite.

    >>> rows_above(torch.tensor([1.0, 5.0, 2.0, 0.0]), 0.25, "bright rows").threshold
    3.5
    """
    if not bool(torch.isfinite(scores).all()):
        raise StageError("scores of training rows are not finite: lower the learning rate")
    order = scores.double().sort(descending=True).values
    count = min(max(1, round(share * len(order))), len(order) - 1)
    threshold = float((order[count - 1] + order[count]) / 2)
    flagged = int((scores > threshold).sum())
    return Detection(
        level="data",
        scores=scores.tolist(),
        threshold=threshold,
        note=f"{flagged} of {len(scores)} training rows are flagged, {what}: a share set beforehand, no verdict",
        network_evaluations=network_evaluations,
    )


def flagged_rows(detection: Detection | None, count: int) -> Tensor | None:
    """Which of ``count`` training rows a detection flags, (count,) bool; None if it is none of training rows.

    >>> flagged_rows(rows_above(torch.tensor([1.0, 5.0, 2.0, 0.0]), 0.25, "bright rows"), 4).tolist()
    [False, True, False, False]
    """
    if detection is None or detection.level != "data" or len(detection.scores) != count:
        return None
    flagged = torch.tensor(detection.scores, dtype=torch.float64) > detection.threshold
    return flagged if 0 < int(flagged.sum()) < count else None
