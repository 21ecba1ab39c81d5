"""From a detection to measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core.errors import UserError
from bdm_core.rates import Estimate, area_under_curve, rate
from bdm_core.records import Detection, Measurement, Subject

if TYPE_CHECKING:
    from bdm_core.context import Context
    from bdm_metric_detection.params import DetectionParams


def measure(ctx: Context, params: DetectionParams, subject: Subject) -> list[Measurement]:
    """What the detector said of this subject; nothing if no detector judged it.

    Raises:
        UserError: a detector of inputs gave another number of scores than there were suspects.
    """
    detection = subject.detection
    if detection is None:
        return []
    if detection.level == "model":
        return _of_model(detection, subject.role)
    return _of_inputs(ctx, params, detection, subject.suspects)


def _of_model(detection: Detection, role: str) -> list[Measurement]:
    says = {"backdoored": 1.0, "clean": 0.0, "not identifiable": None}[detection.verdict]
    better = role == "backdoored"
    found = [
        Measurement(metric="verdict", value=says, higher_is_better=better, n=1, label="verdict (1 = backdoored)"),
        Measurement(metric="score", value=detection.scores[0], n=1, label="detection score"),
        Measurement(metric="threshold", value=detection.threshold, n=1, label="detection threshold"),
    ]
    if detection.p_value is not None:
        found.append(Measurement(metric="p_value", value=detection.p_value, n=1, label="p-value if clean"))
    return found


def _of_inputs(ctx: Context, params: DetectionParams, detection: Detection, suspects: list[bool]) -> list[Measurement]:
    scores, threshold = detection.scores, detection.threshold
    if len(scores) != len(suspects):
        raise UserError(
            f"the detector gave {len(scores)} scores for {len(suspects)} suspects: it must give one for each, in order"
        )
    positive = [score for score, triggered in zip(scores, suspects, strict=True) if triggered]
    negative = [score for score, triggered in zip(scores, suspects, strict=True) if not triggered]
    estimates: list[tuple[str, str, Estimate]] = []
    if positive:
        hits = sum(score > threshold for score in positive)
        estimates.append(("tpr", "detection TPR", rate(hits, len(positive), params.confidence)))
    if negative:
        passed = sum(score <= threshold for score in negative)
        estimates.append(("tnr", "detection TNR", rate(passed, len(negative), params.confidence)))
    if positive and negative:
        estimates.append(("auroc", "detection AUROC", area_under_curve(positive, negative, params.confidence)))
    ctx.figures(intervals={name: [item.low, item.high] for name, _, item in estimates})
    return [
        Measurement(metric=name, value=item.value, higher_is_better=True, n=item.count, stderr=item.stderr, label=label)
        for name, label, item in estimates
    ]
