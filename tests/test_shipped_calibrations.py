"""What the calibrations that detectors of unconditional models ship with cover of the built-in models."""

from __future__ import annotations

import importlib

import pytest

from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.coverage import traits_of
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model

COVERED = {
    "bdm_defense_elijah.decision": {"digits-ddpm", "digits-tiny"},
    "bdm_defense_terd.decision": {"digits-ddpm", "digits-tiny"},
    "bdm_defense_diff_cleanse.detection": {"digits-ddpm", "digits-tiny", "shapes-ldm"},
}


@pytest.fixture(scope="module")
def models() -> dict[str, DiffusionModel]:
    return {folder.parent.name: load_model(folder.parent) for folder in BUILTIN.glob("*/model_index.json")}


@pytest.mark.parametrize("module", COVERED)
def test_of_built_in_models_that_no_clean_one_is_like_a_detector_cannot_tell(
    module: str, models: dict[str, DiffusionModel]
) -> None:
    known = importlib.import_module(module).CALIBRATED.read("")
    reasons = {name: known.outside(model.shape, traits_of(model)) for name, model in models.items()}
    assert {name for name, reason in reasons.items() if not reason} == COVERED[module]
    assert all("its calibration covers models of 1x8x8" in reason for reason in reasons.values() if reason)
