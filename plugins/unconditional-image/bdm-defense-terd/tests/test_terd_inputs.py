"""Which inputs are turned away, with triggers that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_terd.inputs import DEVIATION, TRIGGER, reject
from bdm_defense_terd.params import TerdInputParams
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.inversion.evidence import seal_trigger
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.noise.initial_noise import load_noise, seal_noise

SHAPE = (1, 8, 8)
ROWS = 400
CHECKER = torch.where(torch.arange(64).view(SHAPE) % 2 == 0, 0.75, -0.75)
"""Its norm is 6, so that both error rates of the likelihood ratio are Phi(-3) = 0.00135."""
TALL = torch.where(torch.arange(64).view(SHAPE) < 32, 0.75, -0.75)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return seal_model(load_model(BUILTIN / "digits-tiny"), tmp_path / "model")


def inputs(folder: Path, *shifts: Tensor) -> Data:
    noise = draw_noise(ROWS, SHAPE, 4)
    return seal_noise(folder / "inputs", torch.cat([noise, *(noise + shift for shift in shifts)]))


def found(folder: Path, more: dict[str, Tensor] | None = None, **fields: Any) -> Detection:
    tensors = {"trigger": CHECKER, **(more or {})}
    evidence = seal_trigger(folder / "evidence", "a-task", tensors, torch.zeros(1, *SHAPE), {})
    facts = {"level": "input", "scores": [1.0], "threshold": 0.0, "evidence": evidence}
    return Detection(**{**facts, **fields})


def shares(folder: Path, model: Model, given: Data, detection: Detection | None, **params: Any) -> list[float]:
    """Share turned away of each part of the inputs."""
    made = reject(Context(folder / "out", folder / "work", 1), TerdInputParams(**params), model, given, detection)
    assert torch.equal(load_noise(made.inputs), load_noise(given))
    flags = torch.tensor(made.rejected).double().unflatten(0, (-1, ROWS))
    return flags.mean(1).tolist()


def test_inputs_with_a_trigger_that_another_detector_found_are_turned_away(tmp_path: Path, model: Model) -> None:
    clean, checker, tall = shares(tmp_path, model, inputs(tmp_path, CHECKER, TALL), found(tmp_path, level="model"))
    assert clean < 0.01 and checker > 0.99
    assert tall < 0.01, "another trigger of the same norm, at a right angle"


def test_every_estimate_of_a_detection_of_inputs_counts(tmp_path: Path, model: Model) -> None:
    own = {f"{TRIGGER}a": CHECKER, f"{TRIGGER}b": TALL}
    own |= {name.replace(TRIGGER, DEVIATION): torch.ones(SHAPE) for name in own}
    clean, checker, tall = shares(tmp_path, model, inputs(tmp_path, CHECKER, TALL), found(tmp_path, own))
    assert clean < 0.02 and checker > 0.99 and tall > 0.99


@pytest.mark.parametrize(
    "fields", [{"conclusive": False, "note": "flat"}, {"level": "model", "scores": [0.0], "threshold": 1.0}]
)
def test_nothing_is_turned_away_without_a_backdoor(tmp_path: Path, model: Model, fields: dict[str, Any]) -> None:
    assert shares(tmp_path, model, inputs(tmp_path, CHECKER), found(tmp_path, **fields)) == [0.0, 0.0]


def test_a_flat_objective_turns_nothing_away(tmp_path: Path, model: Model) -> None:
    few = {"estimation_steps": 0, "refinement_steps": 0, "evaluation_pairs": 8}
    assert shares(tmp_path, model, inputs(tmp_path, CHECKER), None, **few) == [0.0, 0.0]


def test_the_mean_pixel_needs_no_trigger(tmp_path: Path, model: Model) -> None:
    dark = torch.full(SHAPE, -1.0)
    clean, shifted, checker = shares(tmp_path, model, inputs(tmp_path, dark, CHECKER), None, judge="mean-pixel")
    assert clean < 0.05 and shifted > 0.99 and checker == clean


def test_evidence_without_a_trigger_is_refused(tmp_path: Path, model: Model) -> None:
    nothing = Detection(level="model", scores=[1.0], threshold=0.0)
    with pytest.raises(UserError, match="terd-input"):
        shares(tmp_path, model, inputs(tmp_path), nothing)
