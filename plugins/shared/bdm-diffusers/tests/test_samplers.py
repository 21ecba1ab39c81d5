"""The sampler registry: noise schedules survive, defaults can be taken, mismatches are said."""

import diffusers
import pytest
import torch

from bdm_core.errors import UserError
from bdm_diffusers.samplers import (
    SAMPLERS,
    backdoor_warnings,
    build_scheduler,
    check_steps,
    default_steps,
    fitting_samplers,
    sampler_spec,
    solver_class,
)


def base_scheduler(timesteps=1000):
    scale = 1000 / timesteps
    return diffusers.DDPMScheduler(timesteps, beta_start=1e-4 * scale, beta_end=0.02 * scale)


@pytest.mark.parametrize("name", SAMPLERS)
def test_noise_schedule_survives_the_change_of_class(name):
    """HeunDiscreteScheduler.from_config(DDPM config) has other betas: diffusers drops values that were defaults."""
    base = base_scheduler()
    for source in (base, dict(base.config), {"_class_name": "DDPMScheduler", "num_train_timesteps": 1000}):
        scheduler = build_scheduler(name, source)
        assert type(scheduler).__name__ == sampler_spec(name).scheduler
        assert torch.allclose(scheduler.alphas_cumprod, base.alphas_cumprod, atol=1e-7)
    assert not scheduler.config.get("clip_sample", False)


def test_names_and_configs_that_are_none():
    with pytest.raises(UserError, match="did you mean 'unipc'"):
        build_scheduler("unpic", base_scheduler())
    with pytest.raises(UserError, match="no diffusers scheduler"):
        build_scheduler("ddim", {"_class_name": "UNet2DModel"})
    with pytest.raises(UserError, match="no betas"):
        build_scheduler("ddim", diffusers.ScoreSdeVeScheduler())


@pytest.mark.parametrize("name", SAMPLERS)
def test_default_steps_can_be_taken(name):
    for timesteps in (64, 100, 1000):
        base = base_scheduler(timesteps)
        scheduler = build_scheduler(name, base)
        steps = default_steps(name, timesteps)
        assert steps == timesteps if solver_class(name) == "sde" else steps in (16, 20)
        scheduler.set_timesteps(steps)
        assert int(scheduler.timesteps[0]) == timesteps - 1


@pytest.mark.parametrize("name", SAMPLERS)
def test_default_steps_of_a_short_schedule_can_be_taken(name):
    for timesteps in (20, 24):
        check_steps(build_scheduler(name, base_scheduler(timesteps)), default_steps(name, timesteps))


def test_warnings_name_the_reason():
    assert solver_class("ddim") == "ode"
    assert solver_class("ddim", eta=1.0) == "sde"
    assert solver_class("ddim", eta=0.5) == "mixed"
    assert backdoor_warnings("ddpm", "sde", steps=100, train_timesteps=100, trigger_norm=8.0) == []
    assert backdoor_warnings("ddim", "ode", steps=20, train_timesteps=100, trigger_norm=6.0) == []
    (line,) = backdoor_warnings("ddim", "sde")
    assert "'ode'" in line
    assert "'sde'" in line
    (line,) = backdoor_warnings("ddpm", "sde", steps=50, train_timesteps=100)
    assert "50 of 100" in line
    (line,) = backdoor_warnings("ddim", "ode", trigger_norm=3.0)
    assert "3.00" in line
    assert "6.00" in line
    assert len(backdoor_warnings("ddim", "ode", trigger_norm=3.0, eta=0.5)) == 2


def test_samplers_that_fit_a_model_keep_their_classes() -> None:
    base = diffusers.DDPMScheduler()
    assert fitting_samplers(["ddpm", "ddim"], base) == ["ddpm", "ddim"]
    exploding = diffusers.ScoreSdeVeScheduler()
    assert fitting_samplers(["ddpm", "ddim", "unipc"], exploding) == ["sde-ve", "ode-ve"]
    assert fitting_samplers(("dpm-solver-2",), exploding) == ["ode-ve"]
