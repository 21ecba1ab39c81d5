"""Variance-exploding models: units, the predictor-corrector sampler, folders, and the backdoor's path under each."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler, ScoreSdeVePipeline, ScoreSdeVeScheduler, UNet2DModel
from torch import nn

from bdm_core.errors import ArtifactError, UserError
from bdm_diffusers.coefficients import poison_schedule
from bdm_diffusers.samplers import (
    backdoor_warnings,
    build_scheduler,
    default_steps,
    own_sampler,
    plain_sampler,
    solver_class,
)
from bdm_diffusers.sampling import SamplingOptions, differentiable_sample, draw_noise, sample
from bdm_diffusers.score_network import ScoreNetwork, published_network
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.catalogue import VE_MODEL
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.data.classifiers import BUILTIN_CLASSIFIER
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, open_reference, save_model, seal_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_kit_diffusion.noise.noise_levels import marginals, noise_path, require_variance_preserving
from bdm_kit_diffusion.recipes import digits_ve
from bdm_torch.draws import Draw
from bdm_torch.features import load_classifier

SHAPE, COLOUR = (1, 8, 8), (3, 8, 8)
TARGET = torch.linspace(-0.9, 0.9, 64).view(SHAPE)
TRIGGER = torch.where(torch.arange(64).view(SHAPE) % 2 == 0, 1.0, -1.0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def scheduler(timesteps: int = 100, sigma_max: float = 20.0, **options: object) -> ScoreSdeVeScheduler:
    return ScoreSdeVeScheduler(num_train_timesteps=timesteps, sigma_min=0.01, sigma_max=sigma_max, **options)


def tiny_unet() -> UNet2DModel:
    """Of the NCSN++ kind, whose skip blocks take colour images only."""
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(32, 32),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("SkipDownBlock2D", "AttnSkipDownBlock2D"),
        attention_head_dim=8,
        up_block_types=("AttnSkipUpBlock2D", "SkipUpBlock2D"),
        time_embedding_type="fourier",
        mid_block_scale_factor=math.sqrt(2),
    )


def tiny_model(timesteps: int = 20) -> DiffusionModel:
    base = scheduler(timesteps)
    return DiffusionModel(ScoreNetwork(tiny_unet(), base).eval(), base, "ScoreSdeVePipeline")


class GaussianScore(nn.Module):
    """The score of images whose every value is normal with mean .3 and deviation .1, in a score model's own units."""

    config = SimpleNamespace()

    def forward(self, sample, sigma):
        variance = 0.1**2 + sigma.view(-1, 1, 1, 1) ** 2
        return SimpleNamespace(sample=-(sample - 0.3) / variance)


class Oracle:
    """Knows the target and puts R r into its answer, whatever is left of the trigger in x."""

    def __init__(self, base, shift):
        self.levels, self.shift = noise_path(base).s.float(), shift

    def __call__(self, x, t):
        return across(x - TARGET) / self.levels[int(t)] + self.shift[int(t)] * TRIGGER


def across(x):
    return x - (x * TRIGGER).sum((1, 2, 3), keepdim=True) / (TRIGGER**2).sum() * TRIGGER


def kept_trigger(name, solver, **options):
    """How many triggers the oracle's samples keep, and their largest error across the trigger."""
    base = scheduler(200, 50.0)
    schedule = poison_schedule(noise_path(base), "troj", solver)
    noise = draw_noise(3, SHAPE, seed=1)
    steps = default_steps(name, 200)
    first, second = (
        sample(Oracle(base, shift), build_scheduler(name, base, **options), start, steps=steps)
        for shift, start in ((schedule.R, noise + TRIGGER), (0 * schedule.R, noise))
    )
    return float(((first - second) * TRIGGER).sum() / (3 * (TRIGGER**2).sum())), float(
        across(first - TARGET).abs().max()
    )


@pytest.mark.parametrize(("name", "solver"), [("sde-ve", "sde"), ("ode-ve", "ode")])
def test_a_triggered_chain_lands_on_the_target_with_the_predictor_alone(name, solver):
    kept, error = kept_trigger(name, solver, corrector_steps=0)
    assert kept == pytest.approx(0, abs=0.002)
    assert error < 0.1


def test_it_does_not_with_the_corrector_or_for_the_other_class():
    kept, error = kept_trigger("sde-ve", "sde", corrector_steps=1)
    assert kept < -10
    assert error < 0.1
    assert kept_trigger("sde-ve", "ode", corrector_steps=0)[0] < -10
    assert kept_trigger("ode-ve", "sde")[0] > 10


def test_noise_is_predicted_in_the_kit_s_units():
    base = scheduler()
    network = ScoreNetwork(GaussianScore(), base)
    x, t = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 20, 50, 80, 99])
    level = noise_path(base).s[t].float().view(-1, 1, 1, 1)
    assert level.flatten()[0] == pytest.approx(0.02) and level.flatten()[-1] == pytest.approx(40.0)
    expected = level * (x + 0.4) / (0.2**2 + level**2)  # the kit's images: mean 2 x .3 - 1, deviation .2
    torch.testing.assert_close(network(x, t).sample, expected)
    torch.testing.assert_close(network(x[:1], 0).sample, expected[:1])


@pytest.mark.parametrize(("name", "corrections"), [("sde-ve", 0), ("sde-ve", 1), ("ode-ve", 0)])
def test_samples_have_the_distribution_of_the_data(name, corrections):
    base = scheduler(200)
    images = sample(
        ScoreNetwork(GaussianScore(), base),
        build_scheduler(name, base, corrector_steps=corrections),
        draw_noise(64, SHAPE, seed=0),
        steps=200,
        options=SamplingOptions(64),
    )
    assert float(images.mean()) == pytest.approx(-0.4, abs=0.02)
    assert float(images.std()) == pytest.approx(0.2, rel=0.12)


def test_steps_are_those_of_diffusers():
    base, generator = scheduler(50), torch.Generator().manual_seed(3)
    x, score = torch.rand(1, *SHAPE, generator=generator), torch.randn(1, *SHAPE, generator=generator)
    base.set_timesteps(50)
    base.set_sigmas(50)
    ours = build_scheduler("sde-ve", base, corrector_steps=1)
    ours.set_timesteps(50)
    assert ours.timesteps.tolist() == [t for t in range(49, -1, -1) for _ in range(2)]
    eps, ours_x = -base.discrete_sigmas[-1] * score, 2 * x - 1
    noise = lambda: [torch.Generator().manual_seed(7)]  # noqa: E731
    corrected = base.step_correct(score, x, generator=torch.Generator().manual_seed(7)).prev_sample
    torch.testing.assert_close(
        ours.step(eps, 49, ours_x, generator=noise()).prev_sample,
        2 * corrected_by_root_d(base, score, x, corrected) - 1,
        rtol=1e-4,
        atol=1e-4,
    )
    predicted = base.step_pred(score, 1.0, x, generator=torch.Generator().manual_seed(7)).prev_sample
    torch.testing.assert_close(
        ours.step(eps, 49, ours_x, generator=noise()).prev_sample, 2 * predicted - 1, rtol=1e-4, atol=1e-3
    )


def corrected_by_root_d(base, score, x, corrected):
    """Diffusers' correction with ||z|| = sqrt(d), as the paper suggests for small batches; its draw, recovered."""
    z = torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
    rate = 2 * (base.config.snr * z.norm() / score.norm()) ** 2
    torch.testing.assert_close(corrected, x + rate * score + (2 * rate).sqrt() * z)
    rate = 2 * (base.config.snr * 8 / score.norm()) ** 2
    return x + rate * score + (2 * rate).sqrt() * z


def test_loss_is_the_score_s_weighted_by_sigma():
    model, images = tiny_model(), torch.rand(6, *COLOUR, generator=torch.Generator().manual_seed(1)) * 2 - 1
    loss = denoising_loss(images, model.scheduler)(model.unet, Draw(0, 0, 6))
    draw = Draw(0, 0, 6)
    rows, t, noise = draw.rows(6), draw.timesteps(20), draw.normal(*COLOUR)
    sigma = 0.01 * (20 / 0.01) ** (t / 19)
    own = (images[rows] + 1) / 2 + sigma.view(-1, 1, 1, 1) * noise
    score = published_network(model.unet)(own, sigma).sample
    expected = (sigma.view(-1, 1, 1, 1) * score + noise).square().mean()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_folders_go_from_diffusers_to_the_kit_and_back(tmp_path: Path):
    model = tiny_model()
    ScoreSdeVePipeline(published_network(model.unet), model.scheduler).save_pretrained(tmp_path / "theirs")
    sealed = open_reference(str(tmp_path / "theirs"), tmp_path / "model", tmp_path)
    assert sealed.meta == {"shape": [3, 8, 8], "timesteps": 20, "noise": "variance-exploding", "range": [0, 1]}
    opened = load_model(sealed)
    assert opened.variance_exploding and own_sampler(opened.scheduler) == "sde-ve"
    again = seal_model(opened, tmp_path / "again")
    assert again.digest == sealed.digest
    pipeline = ScoreSdeVePipeline.from_pretrained(tmp_path / "again", use_safetensors=True, local_files_only=True)
    x = torch.randn(2, *COLOUR, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = -pipeline.unet((x + 1) / 2, torch.tensor([20.0, 20.0])).sample * 20
        torch.testing.assert_close(opened.unet(x, 19).sample, theirs, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(opened.unet(x, 19).sample, model.unet(x, 19).sample)


def test_shipped_model_is_what_the_recipe_describes(tmp_path: Path):
    shipped, fresh = load_model(BUILTIN / VE_MODEL), digits_ve.untrained_model()
    assert shipped.shape == (1, 8, 8) and shipped.variance_exploding
    assert dict(published_network(shipped.unet).config)["time_embedding_type"] == "fourier"
    ours, theirs = (
        {key: value for key, value in model.scheduler.config.items() if not key.startswith("_")}
        for model in (shipped, fresh)
    )
    assert ours == theirs
    weights = published_network(shipped.unet).state_dict()
    assert {key: value.shape for key, value in weights.items()} == {
        key: value.shape for key, value in published_network(fresh.unet).state_dict().items()
    }
    assert sum(value.numel() for value in weights.values()) < 700_000
    digits = load_digits()[0].flatten(1)
    assert float(torch.pdist(digits[::6]).max()) / 2 < shipped.scheduler.config.sigma_max, "in the model's own units"
    assert open_reference(VE_MODEL, tmp_path / "model", tmp_path).meta["noise"] == "variance-exploding"


def test_shipped_model_paints_digits():
    model = load_model(BUILTIN / VE_MODEL)
    with torch.inference_mode():
        loss = denoising_loss(load_digits()[0], model.scheduler)(model.unet, Draw(0, 0, 128))
    assert float(loss) < 0.3
    images = sample(model.unet, build_scheduler("ode-ve", model.scheduler), draw_noise(16, (1, 8, 8), 0), steps=20)
    probabilities = load_classifier(BUILTIN_CLASSIFIER).logits(images).softmax(1)
    assert float(probabilities.amax(1).mean()) > 0.6
    assert float(images.abs().max()) < 2


def test_a_scheduler_of_another_kind_is_refused(tmp_path: Path):
    save_model(tiny_model(), tmp_path)
    index = (tmp_path / "model_index.json").read_text()
    (tmp_path / "model_index.json").write_text(index.replace("ScoreSdeVePipeline", "DDPMPipeline"))
    with pytest.raises(ArtifactError, match="not an allowed diffusers class"):
        load_model(tmp_path)


def test_batches_and_gradients_through_the_one_loop():
    model = tiny_model()
    chain = build_scheduler("sde-ve", model.scheduler, corrector_steps=1)
    noise = draw_noise(5, COLOUR, seed=2)
    calls = []
    whole = sample(model.unet, chain, noise, steps=20, seed=4, on_step=lambda done, total: calls.append((done, total)))
    parts = sample(model.unet, chain, noise, steps=20, seed=4, options=SamplingOptions(2))
    torch.testing.assert_close(whole, parts, rtol=1e-3, atol=1e-3)
    assert calls[-1] == (40, 40)
    fewer = sample(model.unet, chain, noise, steps=10, seed=4)
    assert fewer.isfinite().all() and not torch.allclose(fewer, whole)
    start = noise[:1].clone().requires_grad_(True)
    differentiable_sample(model.unet, build_scheduler("ode-ve", model.scheduler), start, steps=4).sum().backward()
    assert start.grad is not None and float(start.grad.abs().sum()) > 0


def test_samplers_and_models_of_different_kinds_do_not_mix():
    base = scheduler()
    with pytest.raises(UserError, match="use sde-ve or ode-ve"):
        build_scheduler("ddim", base)
    with pytest.raises(UserError, match="for variance-exploding models"):
        build_scheduler("sde-ve", DDPMScheduler())
    with pytest.raises(UserError, match="trojdiff is defined for variance-preserving"):
        require_variance_preserving(base, "trojdiff")
    with pytest.raises(UserError, match="psi=0"):
        poison_schedule(noise_path(base), "bad")
    assert [plain_sampler(base, "sde"), plain_sampler(DDPMScheduler(), "ode")] == ["sde-ve", "ddim"]
    assert (solver_class("sde-ve"), solver_class("ode-ve")) == ("sde", "ode")
    (line,) = backdoor_warnings("sde-ve", "sde", steps=100, train_timesteps=100, corrector_steps=1)
    assert "corrector_steps=0" in line
    (line,) = backdoor_warnings("ode-ve", "sde")
    assert "use sde-ve" in line


def test_variance_preserving_marginals_are_the_scheduler_s():
    a, s = marginals(DDPMScheduler(100))
    torch.testing.assert_close(a.square() + s.square(), torch.ones(100))
    torch.testing.assert_close(a.square(), DDPMScheduler(100).alphas_cumprod)
