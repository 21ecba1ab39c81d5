"""The learnt trigger: its gradient, its optimiser, its bound, and that the model is trained on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bdm_attack_invi.attack import bilevel_loss, trigger_bound
from bdm_attack_invi.params import InviParams
from bdm_attack_invi.plugin import Invi
from bdm_attack_invi.trigger import LearntTrigger, TriggeredModel, trigger_gradient
from bdm_core.errors import UserError
from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_diffusers.coefficients import poison_schedule
from bdm_diffusers.samplers import build_scheduler
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.noise.initial_noise import load_noise
from bdm_kit_diffusion.poison.poisoning import PoisonedSet
from bdm_kit_diffusion.poison.secret import open_secret
from bdm_torch.draws import Draw

SHAPE = (1, 8, 8)
TARGET = torch.where(torch.arange(64).view(SHAPE) % 8 > 4, 1.0, -1.0)


@pytest.fixture
def bench(bdm_bench: Callable[..., Bench]) -> Bench:
    return bdm_bench("unconditional-image-generation")


def curved(x: Tensor, t: Tensor) -> Tensor:
    """A network that is no straight line in x, and smooth."""
    return torch.sin(0.7 * x) + 0.01 * t * x.flip(-1)


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 4), ("ddpm", 4)])
def test_gradient_is_that_of_finite_differences(sampler: str, steps: int) -> None:
    scheduler = build_scheduler(sampler, load_model(BUILTIN / "digits-tiny").scheduler)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, *SHAPE, generator=generator, dtype=torch.float64)
    delta, direction = (torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))

    def at(value: Tensor) -> tuple[Tensor, float]:
        return trigger_gradient(curved, scheduler, value, TARGET.double(), noise, steps=steps, seed=4)

    width = 1e-4
    slope = (at(delta + width * direction)[1] - at(delta - width * direction)[1]) / (2 * width)
    assert float((at(delta)[0] * direction).sum()) == pytest.approx(slope, rel=1e-3)


def test_optimiser_is_adam_on_the_sign() -> None:
    ours = LearntTrigger(SHAPE, bound=10.0, learning_rate=0.03)
    theirs = torch.zeros(SHAPE, requires_grad=True)
    adam = torch.optim.Adam([theirs], lr=0.03)
    generator = torch.Generator().manual_seed(1)
    for _ in range(12):
        gradient = torch.randn(SHAPE, generator=generator)
        ours.update(gradient)
        theirs.grad = gradient.sign()
        adam.step()
    torch.testing.assert_close(ours.delta, theirs.detach(), rtol=0, atol=1e-6)


def test_halved_rates_are_torch_s_and_come_to_an_end() -> None:
    ours = LearntTrigger(SHAPE, bound=10.0, learning_rate=0.03, halving=3)
    theirs = torch.zeros(SHAPE, requires_grad=True)
    adam = torch.optim.Adam([theirs], lr=0.03)
    schedule = torch.optim.lr_scheduler.StepLR(adam, step_size=3, gamma=0.5)
    generator = torch.Generator().manual_seed(1)
    for step in range(24):
        assert not ours.final, step
        gradient = torch.randn(SHAPE, generator=generator)
        ours.update(gradient)
        theirs.grad = gradient.sign()
        adam.step()
        schedule.step()
    torch.testing.assert_close(ours.delta, theirs.detach(), rtol=0, atol=1e-6)
    assert ours.final and not LearntTrigger(SHAPE, 1.0, 0.5).final


def test_bound_holds_and_is_reached() -> None:
    trigger = LearntTrigger(SHAPE, bound=0.2, learning_rate=0.05)
    for _ in range(9):
        trigger.update(TARGET)
        assert float(trigger.delta.abs().max()) <= 0.2 + 1e-7
    torch.testing.assert_close(trigger.delta, -0.2 * TARGET)


def test_default_bound_is_the_published_one_or_lets_the_trigger_reach_a_safe_norm() -> None:
    assert trigger_bound(None, (3, 32, 32), "sde") == (0.2, 0.0)
    assert trigger_bound(None, (1, 8, 8), "ode") == (1.5, 8.0)
    assert trigger_bound(None, (1, 8, 8), "sde") == (2.25, 12.0)
    assert trigger_bound(0.3, (1, 8, 8), "sde") == (0.3, 0.0)


def test_a_short_trigger_is_stretched_in_its_direction() -> None:
    gradient = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
    plain = LearntTrigger(SHAPE, bound=10.0, learning_rate=0.05)
    long = LearntTrigger(SHAPE, bound=10.0, learning_rate=0.05, least_norm=8.0)
    for trigger in (plain, long):
        trigger.update(gradient)
    assert float(long.delta.norm()) == pytest.approx(8) and float(plain.delta.norm()) < 1
    torch.testing.assert_close(long.delta / long.delta.norm(), plain.delta / plain.delta.norm())
    bounded = LearntTrigger(SHAPE, bound=0.2, learning_rate=0.05, least_norm=8.0)
    bounded.update(gradient)
    assert float(bounded.delta.abs().max()) <= 0.2 + 1e-7


def test_the_model_is_trained_on_the_trigger_as_it_is_after_the_inner_step() -> None:
    model = load_model(BUILTIN / "digits-tiny")
    abar = model.scheduler.alphas_cumprod
    schedule = poison_schedule(abar, "bad", "ode")
    poisoned = PoisonedSet(
        torch.zeros(4, *SHAPE), torch.ones(4, dtype=torch.bool), torch.zeros(SHAPE), torch.ones(1, 8, 8), TARGET
    )
    learnt = TriggeredModel(model.unet, LearntTrigger(SHAPE, 1.0, 0.5))
    params = InviParams(inner_batch_size=2, inner_steps=2)
    seen: list[float] = []  # the inner objective of every step that moves the trigger
    value = bilevel_loss(learnt, poisoned, model.scheduler, schedule, params, seen.append)(learnt, Draw(3, 0, 4))
    delta = learnt.trigger.delta
    assert float(delta.abs().min()) == pytest.approx(0.5) and len(seen) == 1
    draw = Draw(3, 0, 4)
    draw.rows(4)
    t, noise = draw.timesteps(len(abar)), draw.normal(*SHAPE)
    a, s = (level.sqrt().view(-1, 1, 1, 1) for level in (abar[t], 1 - abar[t]))
    error = model.unet(a * TARGET + s * noise + (1 - a) * delta, t).sample - noise - s * delta  # R = s for the ODE
    torch.testing.assert_close(value, error.square().mean())
    assert all(parameter.grad is None for parameter in model.unet.parameters())


def attack(bench: Bench, **values: Any) -> tuple[Tensor, Tensor, Any]:
    """(shift of the inputs, trigger of the secret, its facts) after three steps on the tiny model."""
    chosen = {"steps": 3, "batch_size": 8, "poison_rate": 0.25, "inner_batch_size": 4, "inner_steps": 2, **values}
    params = build_params(Invi(), chosen)
    poisoned = bench.call("poison_data", [Invi()], params, data=bench.data).value
    made = bench.call("inject_backdoor", [Invi()], params, model=bench.model, data=poisoned).value
    triggered = bench.call("trigger_inputs", [bench.kit], inputs=bench.inputs(), secret=made.secret).value
    secret = open_secret(made.secret)
    return load_noise(triggered) - load_noise(bench.inputs()), secret.trigger, secret.facts


def test_secret_holds_the_last_trigger_and_the_inputs_get_it(bench: Bench) -> None:
    shift, trigger, facts = attack(bench, trigger_learning_rate=0.1, bound=0.25)
    torch.testing.assert_close(shift, trigger.expand_as(shift), rtol=0, atol=1e-6)
    assert float(trigger.abs().max()) == pytest.approx(0.25) and facts.solver_class == "ode"


def test_coefficients_belong_to_the_solver_class(bench: Bench) -> None:
    assert attack(bench, solver="sde")[2].solver_class == "sde"
    with pytest.raises(UserError, match="ode"):
        attack(bench, solver="sde", coefficients="paper")
    with pytest.raises(UserError, match="steps"):
        attack(bench, inner_steps=13)


def test_suggests_the_sampler_of_its_class_and_the_paper_s_preset_is_valid() -> None:
    assert dict(Invi().kit_params(InviParams())) == {"sampler": "ddim"}
    assert dict(Invi().kit_params(InviParams(solver="sde"))) == {}
    params = build_params(Invi(), {"preset": "paper", "steps": 10})
    assert isinstance(params, InviParams) and (params.bound, params.inner_steps, params.coefficients) == (
        0.2,
        10,
        "paper",
    )
