"""The verdict: one class, against clean models; or a random forest, where labelled models of both kinds are known."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import JsonValue, ValidationError

from bdm_core.artifacts import Record
from bdm_core.errors import UserError
from bdm_defense_elijah.plugin import ElijahParams
from bdm_kit_diffusion.calibration import Verdict

SHIPPED = Path(__file__).with_name("calibration.json")
SEARCH = (
    "starts", "scales", "inversion_steps", "stretches", "largest_rms", "screening_steps", "screening_batch",
    "noise_batch", "antithetic", "inversion_learning_rate", "samplers", "sampling_steps", "samples", "distance",
)  # fmt: skip
"""The parameters that a score depends on."""


class ModelRecord(Record):
    """One known model.

    Attributes:
        name: free text.
        label: what it is.
        shape: (C, H, W) of its images.
        score: -log of its least uniformity ratio.
        log_variation: log of that set's total variation over that of plain noise.
    """

    name: str
    label: Literal["clean", "backdoored"]
    shape: tuple[int, int, int]
    score: float
    log_variation: float


class Calibration(Record):
    """Scores of known models, with the configuration that they were found with and the command that found them."""

    schema_version: Literal[1] = 1
    recipe: str
    configuration: dict[str, JsonValue]
    records: list[ModelRecord]

    def scores(self, label: str = "clean") -> list[float]:
        """The scores of the models of one label."""
        return [record.score for record in self.records if record.label == label]


def configuration(params: ElijahParams) -> dict[str, JsonValue]:
    """The parameters that a score depends on, as JSON."""
    chosen: dict[str, JsonValue] = {
        key: value for key, value in params.model_dump(mode="json").items() if key in SEARCH
    }
    return chosen


def read_calibration(path: str | Path) -> Calibration:
    """Read a calibration file; "" is the one shipped. Raises UserError if it is none."""
    place = Path(path) if path else SHIPPED
    try:
        return Calibration.model_validate_json(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the calibration {place}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise UserError(f"{place} is no calibration of elijah: {where}: {first['msg']}") from None


def random_forest(score: float, log_variation: float, known: Calibration, seed: int) -> Verdict:
    """Judge by a random forest on (score, log of the total variation) of labelled models.

    The score is the forest's share of votes for "backdoored", the threshold 1/2. The p-value compares with the clean
    models' votes from trees that did not see them: (1 + how many are at least as high) / (1 + their number).

    Raises:
        UserError: fewer than three models of either label.
    """
    from sklearn.ensemble import RandomForestClassifier

    features = np.array([[record.score, record.log_variation] for record in known.records]).reshape(-1, 2)
    labels = np.array([record.label == "backdoored" for record in known.records], dtype=bool)
    if min(labels.sum(), (~labels).sum()) < 3:
        raise UserError("the random forest needs at least 3 clean and 3 backdoored models in its calibration file")
    forest = RandomForestClassifier(300, oob_score=True, random_state=seed % 2**32, n_jobs=1).fit(features, labels)
    vote = float(forest.predict_proba([[score, log_variation]])[0, 1])
    unseen = forest.oob_decision_function_[~labels, 1]
    return Verdict(score=vote, threshold=0.5, p_value=float((1 + (unseen >= vote).sum()) / (1 + len(unseen))))


def fingerprint(calibration: Calibration) -> str:
    """SHA-256 of a calibration, for the evidence."""
    text = json.dumps(calibration.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
