"""The model's verdict: (M_r, V_r) against those of clean models, one class."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import JsonValue, ValidationError

from bdm_core.artifacts import Record
from bdm_core.errors import UserError
from bdm_defense_terd.plugin import TerdParams
from bdm_kit_diffusion.calibration import Verdict, one_class_of_several

SHIPPED = Path(__file__).with_name("calibration.json")
SEARCH = (
    "starts", "estimation_steps", "refinement_steps", "pairs", "refinement_pairs", "estimation_learning_rate",
    "deviation_learning_rate", "first_deviation", "norm_weight", "largest_gradient", "window", "chain",
    "evaluation_pairs",
)  # fmt: skip
"""The parameters that M_r and V_r depend on."""


class ModelRecord(Record):
    """One clean model.

    Attributes:
        name: free text.
        shape: (C, H, W) of its images.
        mean: M_r.
        variance: V_r.
    """

    name: str
    shape: tuple[int, int, int]
    mean: float
    variance: float


class Calibration(Record):
    """Features of clean models, with the configuration that they were found with and the command that found them."""

    schema_version: Literal[1] = 1
    recipe: str
    configuration: dict[str, JsonValue]
    records: list[ModelRecord]


def configuration(params: TerdParams) -> dict[str, JsonValue]:
    """The parameters that M_r and V_r depend on, as JSON."""
    values = params.model_dump(mode="json")
    return {key: values[key] for key in SEARCH}


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
        raise UserError(f"{place} is no calibration of terd: {where}: {first['msg']}") from None


def decide(features: tuple[float, float], known: Calibration, false_positive_rate: float) -> Verdict:
    """Judge (M_r, V_r); the feature that exceeds those of the clean models by more decides."""
    clean = [[record.mean, record.variance] for record in known.records]
    return one_class_of_several(list(features), clean, false_positive_rate)


def calibration_warnings(params: TerdParams, known: Calibration) -> list[str]:
    """One line if the features of the calibration were found with another configuration."""
    mine = configuration(params)
    other = [key for key in mine if known.configuration.get(key) != mine[key]]
    if not other:
        return []
    return [f"terd's calibration was made with other values of {', '.join(other)}: its threshold may not hold; "
            "calibrate again with `python -m bdm_defense_terd.calibrate`"]  # fmt: skip


def fingerprint(known: Calibration) -> str:
    """SHA-256 of a calibration, for the evidence."""
    return hashlib.sha256(json.dumps(known.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
