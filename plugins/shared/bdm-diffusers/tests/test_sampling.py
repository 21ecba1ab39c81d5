"""The sampling loop and every registered sampler, driven by predictors whose answer is known."""

import itertools

import diffusers
import pytest
import torch

from bdm_core.errors import UserError
from bdm_diffusers.coefficients import poison_schedule, variance_preserving
from bdm_diffusers.samplers import SAMPLERS, build_scheduler
from bdm_diffusers.sampling import SamplingOptions, differentiable_sample, draw_noise, sample

SHAPE = (1, 4, 4)
TARGET = torch.linspace(-0.5, 0.5, 16).reshape(1, *SHAPE)
TRIGGER = torch.full((1, *SHAPE), 0.7)
ODE = [name for name, spec in SAMPLERS.items() if spec.solver == "ode"]
FIRST_ORDER = {"ddim", "dpm-solver-1", "dpm-solver++-1", "euler"}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def base_scheduler(timesteps=1000):
    scale = 1000 / timesteps
    return diffusers.DDPMScheduler(timesteps, beta_start=1e-4 * scale, beta_end=0.02 * scale)


class Oracle:
    """The eps-prediction for a model whose data are the one image y, backdoored with R.

    Across the trigger's direction it finds eps in x exactly, eps = (x - a y)/s; along the trigger it answers R_t r.
    What is left of the trigger at the end is then the bookkeeping of (rho, R) against the sampler: nothing hides it.
    """

    def __init__(self, scheduler, shift):
        self.path, self.shift = variance_preserving(scheduler.alphas_cumprod), shift
        self.inputs = []

    def __call__(self, x, t):
        assert float(t) == int(t)
        a, s = float(self.path.a[int(t)]), float(self.path.s[int(t)])
        self.inputs.append((int(t), x))
        return across(x - a * TARGET) / s + self.shift[int(t)] * TRIGGER


def across(x):
    return x - (x * TRIGGER).sum((1, 2, 3), keepdim=True) / (TRIGGER**2).sum() * TRIGGER


def residual(scheduler, schedule, steps, **values):
    """How many triggers a sample keeps, and the largest error in the target across the trigger."""
    noise, options = draw_noise(3, SHAPE, seed=1), SamplingOptions(**values)
    triggered = noise + schedule.rho[-1] * TRIGGER
    with_trigger = sample(Oracle(scheduler, schedule.R), scheduler, triggered, steps=steps, options=options)
    without = sample(Oracle(scheduler, 0 * schedule.R), scheduler, noise, steps=steps, options=options)
    kept = ((with_trigger - without) * TRIGGER).sum() / (3 * (TRIGGER**2).sum())
    return float(kept), float(across(with_trigger - TARGET).abs().max())


TABLE = [
    ("bad", "sde", "exact", "ddpm", 1000, 0.0),
    ("bad", "sde", "exact", "ddim", 1000, 78),
    ("bad", "sde", "exact", "unipc", 20, 78),
    ("bad", "ode", "paper", "ddpm", 1000, -156),
    ("bad", "ode", "paper", "ddim", 1000, -0.70),
    ("bad", "ode", "paper", "unipc", 20, -0.70),
    ("bad", "ode", "exact", "ddpm", 1000, -156),
    ("bad", "ode", "exact", "ddim", 1000, -0.003),
    ("bad", "ode", "exact", "ddim", 50, -0.064),
    ("bad", "ode", "exact", "ddim", 20, -0.151),
    ("troj", "ode", "exact", "ddpm", 1000, -156),
    ("troj", "ode", "exact", "ddim", 20, 0.0),
    ("troj", "ode", "exact", "dpm-solver++-2", 20, 0.0),
    ("troj", "sde", "exact", "ddpm", 1000, 0.0),
    ("troj", "sde", "exact", "euler-ancestral", 1000, 0.0),
]


@pytest.mark.parametrize(("family", "solver", "coefficients", "name", "steps", "expected"), TABLE)
def test_residual_trigger(family, solver, coefficients, name, steps, expected):
    base = base_scheduler()
    schedule = poison_schedule(base.alphas_cumprod, family, solver, coefficients)
    kept, error = residual(build_scheduler(name, base), schedule, steps)
    assert kept == pytest.approx(expected, abs=0.012, rel=0.01)
    assert error < 1e-3


@pytest.mark.parametrize(("steps", "expected"), [(100, 5.5), (50, 9.9), (20, 16)])
def test_strided_ancestral_chains_break_an_sde_backdoor(steps, expected):
    base = base_scheduler()
    scheduler = diffusers.DDPMScheduler.from_config(build_scheduler("ddpm", base).config, timestep_spacing="leading")
    kept, _ = residual(scheduler, poison_schedule(base.alphas_cumprod, "bad", "sde"), steps)
    assert kept == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("family", ["bad", "troj"])
@pytest.mark.parametrize("timesteps", [100, 1000])
@pytest.mark.parametrize("name", ODE)
def test_every_ode_sampler_fires_ode_backdoors_only(name, timesteps, family):
    base = base_scheduler(timesteps)
    scheduler = build_scheduler(name, base)
    right, error = residual(scheduler, poison_schedule(base.alphas_cumprod, family, "ode"), 20)
    wrong, _ = residual(scheduler, poison_schedule(base.alphas_cumprod, family, "sde"), 20)
    last_noise = float((1 - base.alphas_cumprod[0]).sqrt())  # deis and dpm-solver stop at the smallest noise level
    assert abs(right) <= (0.16 if name in FIRST_ORDER else 0.026) + last_noise
    assert error < 1e-3 + 4 * last_noise
    assert wrong > 70


@pytest.mark.parametrize("name", ["ddpm", "ddim"])
@pytest.mark.parametrize("steps", [20, 50])
def test_coefficients_of_a_stride_are_exact_for_it(name, steps):
    base = base_scheduler()
    stride = 1000 // steps
    schedule = poison_schedule(base.alphas_cumprod, 0.6, "sde" if name == "ddpm" else "ode", stride=stride)
    kept, error = residual(build_scheduler(name, base), schedule, steps)
    assert abs(kept) < 1e-3
    assert error < 1e-3


def test_ddim_with_eta_needs_its_own_coefficients():
    base = base_scheduler(100)
    scheduler = build_scheduler("ddim", base)
    own = poison_schedule(base.alphas_cumprod, "bad", "ode", stride=2, eta=0.5)
    assert abs(residual(scheduler, own, 50, eta=0.5)[0]) < 1e-3
    assert abs(residual(scheduler, poison_schedule(base.alphas_cumprod, "bad", "ode"), 50, eta=0.5)[0]) > 5


def test_ddim_with_eta_one_is_ancestral():
    base = base_scheduler(100)
    kept, _ = residual(build_scheduler("ddim", base), poison_schedule(base.alphas_cumprod, "bad", "sde"), 100, eta=1.0)
    assert abs(kept) < 1e-3


def two_modes(scheduler, spread=0.3):
    """The exact eps-prediction for data from N(y, spread^2) or N(-y, spread^2), half and half: not linear in x."""
    path = variance_preserving(scheduler.alphas_cumprod)

    def predict(x, t):
        a, s = float(path.a[int(t)]), float(path.s[int(t)])
        variance = a**2 * spread**2 + s**2
        centre = TARGET * torch.tanh((x * TARGET).sum((1, 2, 3), keepdim=True) * a / variance)
        mean = centre + a * spread**2 / variance * (x - a * centre)
        return (x - a * mean) / s

    return predict


def test_different_samplers_are_different():
    base = base_scheduler()
    noise = draw_noise(8, SHAPE, seed=2)
    results = {}
    for name in SAMPLERS:
        scheduler = build_scheduler(name, base)
        results[name] = sample(two_modes(scheduler), scheduler, noise, steps=10)
    same = [{"ddim", "dpm-solver++-1", "euler"}, {"ddpm", "euler-ancestral"}]  # one method under several names
    for one, other in itertools.combinations(SAMPLERS, 2):
        difference = float((results[one] - results[other]).abs().max())
        if any({one, other} <= group for group in same):
            assert difference < 2e-4, (one, other)
        else:
            assert difference > 1e-3, (one, other)


@pytest.mark.parametrize("name", SAMPLERS)
def test_result_does_not_depend_on_batching(name):
    scheduler = build_scheduler(name, base_scheduler(100))
    model, noise = two_modes(scheduler), draw_noise(7, SHAPE, seed=3)
    whole = sample(model, scheduler, noise, steps=10, seed=5, options=SamplingOptions(7))
    for batch_size in (1, 3):
        split = sample(model, scheduler, noise, steps=10, seed=5, options=SamplingOptions(batch_size))
        assert torch.allclose(split, whole, atol=1e-6)
    rest = sample(model, scheduler, noise[4:], steps=10, seed=5, options=SamplingOptions(first_index=4))
    assert torch.allclose(rest, whole[4:], atol=1e-6)
    other_seed = sample(model, scheduler, noise, steps=10, seed=6)
    assert torch.equal(other_seed, whole) == (SAMPLERS[name].solver == "ode")


@pytest.mark.parametrize("name", SAMPLERS)
def test_initial_noise_is_x_at_the_last_timestep(name):
    scheduler = build_scheduler(name, base_scheduler(100))
    oracle, noise = Oracle(scheduler, torch.zeros(100)), draw_noise(4, SHAPE, seed=4) + 2 * TRIGGER
    sample(oracle, scheduler, noise, steps=10)
    timestep, first_input = oracle.inputs[0]
    assert timestep == 99
    assert torch.allclose(first_input, noise, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ODE)
def test_model_sees_inputs_of_its_own_noise_level(name):
    """With eps known the exact path is the line a_t y + s_t eps; sigma-space solvers must scale back to it."""
    scheduler = build_scheduler(name, base_scheduler())
    oracle = Oracle(scheduler, torch.zeros(1000))
    path, eps = oracle.path, across(draw_noise(4, SHAPE, seed=5))
    sample(oracle, scheduler, path.a[-1].float() * across(TARGET) + path.s[-1].float() * eps, steps=20)
    assert len(oracle.inputs) >= 20
    for timestep, x in oracle.inputs:
        line = float(path.a[timestep]) * across(TARGET) + float(path.s[timestep]) * eps
        assert torch.allclose(across(x), line, atol=0.01), timestep


def test_clipping_is_off_unless_asked_and_the_scheduler_is_left_alone():
    scheduler = diffusers.DDIMScheduler(100, clip_sample=True, thresholding=True, beta_start=1e-3, beta_end=0.2)
    path = variance_preserving(scheduler.alphas_cumprod)

    def bright(x, t):  # data are the constant image 3
        return (x - float(path.a[int(t)]) * 3.0) / float(path.s[int(t)])

    noise = draw_noise(2, SHAPE, seed=6)
    assert float(sample(bright, scheduler, noise, steps=10).min()) == pytest.approx(3, abs=1e-3)
    assert float(sample(bright, scheduler, noise, steps=10, options=SamplingOptions(clip_sample=True)).max()) <= 1.0001
    assert scheduler.config.clip_sample
    assert scheduler.num_inference_steps is None
    with pytest.raises(UserError, match="cannot clip"):
        sample(bright, build_scheduler("unipc", scheduler), noise, steps=10, options=SamplingOptions(clip_sample=True))


def test_a_real_unet_with_progress_and_its_mode_kept():
    torch.manual_seed(0)
    model = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        norm_num_groups=4,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    ).train()
    scheduler, noise, seen = build_scheduler("heun", base_scheduler(100)), draw_noise(5, (1, 8, 8), 0), []
    images = sample(
        model, scheduler, noise, steps=4, options=SamplingOptions(2), on_step=lambda *counts: seen.append(counts)
    )
    assert images.shape == noise.shape
    assert images.dtype == torch.float32
    assert not images.is_inference()
    assert model.training
    assert seen == [(i, 21) for i in range(1, 22)]  # 3 batches of 2 * 4 - 1 calls
    other = sample(model, scheduler, noise, steps=4, options=SamplingOptions(5))  # batch sizes may take other kernels
    assert float((other - images).abs().max()) < 1e-5 * float(images.abs().max())
    assert sample(model, scheduler, noise[:0], steps=4).shape == (0, 1, 8, 8)


def test_gradient_through_a_short_chain_is_the_finite_difference():
    scheduler = build_scheduler("ddim", base_scheduler(100))
    model, noise = two_modes(scheduler), draw_noise(1, SHAPE, seed=8).requires_grad_()
    loss = lambda x: differentiable_sample(model, scheduler, x, steps=5)[0, 0, 1, 2]  # noqa: E731
    (gradient,) = torch.autograd.grad(loss(noise), noise)
    direction = draw_noise(1, SHAPE, seed=9)
    with torch.no_grad():
        slope = (loss(noise + 1e-2 * direction) - loss(noise - 1e-2 * direction)) / 2e-2
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-2, abs=1e-4)
    assert torch.allclose(
        differentiable_sample(model, scheduler, noise, steps=5), sample(model, scheduler, noise, steps=5)
    )


def test_draw_noise_is_standard_normal_and_depends_on_seed_and_index_only():
    noise = draw_noise(500, SHAPE, seed=0)
    assert float(noise.mean()) == pytest.approx(0, abs=0.04)
    assert float(noise.std()) == pytest.approx(1, abs=0.03)
    assert float((noise[:-1] * noise[1:]).mean()) == pytest.approx(0, abs=0.04)
    assert torch.equal(draw_noise(3, SHAPE, seed=0, first_index=10), noise[10:13])
    assert not torch.equal(draw_noise(3, SHAPE, seed=1), noise[:3])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ddim", {"steps": 0}, "between 1 and the model's 100"),
        ("unipc", {"steps": 101}, "between 1 and the model's 100"),
        ("ddim", {"steps": 30}, "not 30 but 25 or 50"),
        ("deis", {"steps": 100}, "at most 50"),
        ("unipc", {"steps": 10, "options": SamplingOptions(eta=0.5)}, "has no eta"),
        ("ddpm", {"steps": 100, "options": SamplingOptions(0)}, "batch_size"),
    ],
)
def test_impossible_requests_are_one_line(name, options, message):
    scheduler = build_scheduler(name, base_scheduler(100))
    with pytest.raises(UserError, match=message):
        sample(two_modes(scheduler), scheduler, draw_noise(1, SHAPE, 0), **options)
