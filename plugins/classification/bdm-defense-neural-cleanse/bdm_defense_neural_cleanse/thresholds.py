"""Above which index a repair of texts or sound removes a class: as for pictures, that of the verdict."""

from __future__ import annotations

from bdm_core.records import Detection
from bdm_defense_neural_cleanse.params import NeuralCleanseParams
from bdm_kit_classification.inversion.anomaly import calibration_of, judged
from bdm_torch.calibration_file import Calibrated


def threshold_of(
    params: NeuralCleanseParams, score: float, calibrated: Calibrated, detection: Detection | None
) -> float:
    """The threshold of a detection; without one that of the verdict on a new search.

    Args:
        params: the threshold of the paper, the calibration.
        score: the highest index of a class.
        calibrated: name of the defense and its calibration.
        detection: whose triggers are removed; None: those of a new search are.

    Raises:
        UserError: the calibration is none of this defense.
    """
    if detection is not None:
        return detection.threshold
    known = calibration_of(calibrated, params.calibration)
    verdict = judged(score, params.threshold, known, params.false_positive_rate)
    return params.threshold if verdict is None else verdict.threshold
