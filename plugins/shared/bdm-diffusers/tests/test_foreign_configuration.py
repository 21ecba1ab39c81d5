"""Noise schedules of strangers: what bdm cannot use is refused by name, what published models have is taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bdm_core.errors import ArtifactError
from bdm_diffusers.foreign_configuration import check_scheduler

FILE = Path("model/scheduler/scheduler_config.json")
NAN = float("nan")


@pytest.mark.parametrize(
    ("entry", "values", "more"),
    [
        ("timestep_spacing", ["odd", 5, None, ["leading"]], {}),
        ("steps_offset", [10**9, 1000, -5, "1", 0.5, True, None], {}),
        ("variance_type", ["odd", 3, ["fixed_small"], "learned"], {}),
        ("clip_sample", ["no", 7, []], {}),
        ("thresholding", ["yes", {}], {}),
        ("clip_sample_range", [0, -1, "x", None, 1e300, NAN, True], {"clip_sample": True}),
        ("sample_max_value", [0, -3, "x", None, float("inf")], {"thresholding": True}),
        ("dynamic_thresholding_ratio", [0, 7, "x", NAN], {"thresholding": True}),
    ],
)
def test_an_odd_entry_is_refused_by_name(entry: str, values: list[Any], more: dict[str, Any]) -> None:
    for value in values:
        with pytest.raises(ArtifactError, match=f"^{re.escape(str(FILE))}: {entry} ") as caught:
            check_scheduler(FILE, {**more, entry: value})
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"steps_offset": 1, "clip_sample": False, "clip_sample_range": None, "set_alpha_to_one": False},
        {"timestep_spacing": "trailing", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
        {"timestep_spacing": "linspace", "variance_type": None},
        {"clip_sample": True, "variance_type": "fixed_large"},
        {"thresholding": True, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.5, "clip_sample": None},
    ],
)
def test_published_schedules_are_taken(config: dict[str, Any]) -> None:
    check_scheduler(FILE, config)
