"""Parameters of ``attack:villan`` and what they do: scale, solver class, presets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bdm_attack_villan.params import VillanParams
from bdm_attack_villan.plugin import Villan
from bdm_core.artifacts import Data
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_kit_diffusion.noise.initial_noise import load_noise
from bdm_kit_diffusion.poison.secret import open_secret
from bdm_torch.pictures.triggers import make_trigger

TASK = "unconditional-image-generation"


@pytest.fixture
def bench(bdm_bench: Callable[..., Bench]) -> Bench:
    return bdm_bench(TASK)


def attack(bench: Bench, **values: Any) -> tuple[Backdoored, Data]:
    """The backdoored tiny model after two steps, and its triggered inputs."""
    params = build_params(Villan(), {"steps": 2, "batch_size": 8, "poison_rate": 0.25, **values})
    poisoned = bench.call("poison_data", [Villan()], params, data=bench.data).value
    made = bench.call("inject_backdoor", [Villan()], params, model=bench.model, data=poisoned).value
    return made, bench.call("trigger_inputs", [bench.kit], inputs=bench.inputs(), secret=made.secret).value


def test_secret_says_what_the_input_s_shift_is(bench: Bench) -> None:
    made, triggered = attack(bench, trigger="checker", vp_scale=1.5)
    shift = load_noise(triggered) - load_noise(bench.inputs())
    expected = 1.5 * make_trigger("checker", (1, 8, 8)).image
    torch.testing.assert_close(shift, expected.expand_as(shift), rtol=0, atol=1e-5)
    secret = open_secret(made.secret)
    assert torch.equal(secret.trigger, expected)
    assert secret.facts.trigger_norm == pytest.approx(12.0) and secret.facts.solver_class == "sde"


def test_solver_class_and_psi_and_coefficients_change_the_model(bench: Bench) -> None:
    choices = [
        {},
        {"solver": "ode"},
        {"solver": "ode", "coefficients": "paper"},
        {"psi": 0.5},
        {"R_trigger_only": False},
    ]
    digests = {attack(bench, trigger="white-box", **choice)[0].model.digest for choice in choices}
    assert len(digests) == len(choices)


def test_an_ode_backdoor_suggests_an_ode_sampler() -> None:
    assert dict(Villan().kit_params(VillanParams(solver="ode"))) == {"sampler": "ddim"}
    assert dict(Villan().kit_params(VillanParams(solver="sde"))) == {}


def test_the_paper_s_preset_is_a_valid_set_of_parameters() -> None:
    params = build_params(Villan(), {"preset": "paper", "steps": 10})
    assert isinstance(params, VillanParams)
    assert (params.coefficients, params.batch_size, params.steps) == ("paper", 128, 10)
    params = build_params(Villan(), {"preset": "paper-ve"})
    assert isinstance(params, VillanParams)
    assert (params.psi, params.dataset_mode, params.R_trigger_only, params.coefficients) == (0, "extend", True, "exact")


def test_a_rate_above_one_needs_a_mode_that_adds(bench: Bench) -> None:
    with pytest.raises(UserError, match="extend"):
        attack(bench, poison_rate=2.0)
