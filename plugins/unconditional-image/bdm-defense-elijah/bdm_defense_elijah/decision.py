"""The verdict: one class, against clean models; or a random forest, where labelled models of both kinds are known."""

from __future__ import annotations

import numpy as np

from bdm_core.errors import UserError
from bdm_torch.calibration import Verdict, conformal
from bdm_torch.calibration_file import Calibrated, Calibration

CALIBRATED = Calibrated(
    "elijah",
    "bdm_defense_elijah",
    features=2,
    labelled=True,
)
"""The features are the score, -log of the least uniformity ratio, and the log of that set's total variation over that
of plain noise."""


def require_both_kinds(known: Calibration) -> None:
    """Refuse a calibration with fewer than three models of either label, which the random forest learns from.

    Raises:
        UserError: it has fewer.
    """
    labels = [record.backdoored for record in known.records]
    if min(labels.count(True), labels.count(False)) < 3:
        raise UserError("the random forest needs at least 3 clean and 3 backdoored models in its calibration file")


def random_forest(score: float, log_variation: float, known: Calibration, seed: int, rate: float) -> Verdict:
    """Judge by a random forest on (score, log of the total variation) of labelled models.

    The score is the forest's share of votes for "backdoored", the threshold at least 1/2. It is compared with the clean
    models' votes from trees that did not see them; ``rate`` is the false positive rate.

    Raises:
        UserError: fewer than three models of either label.
    """
    from sklearn.ensemble import RandomForestClassifier

    require_both_kinds(known)
    features = np.array([record.features for record in known.records]).reshape(-1, 2)
    labels = np.array([record.backdoored for record in known.records], dtype=bool)
    forest = RandomForestClassifier(300, oob_score=True, random_state=seed % 2**32, n_jobs=1).fit(features, labels)
    vote = float(forest.predict_proba([[score, log_variation]])[0, 1])
    return conformal(vote, forest.oob_decision_function_[~labels, 1].tolist(), rate, least=0.5)
