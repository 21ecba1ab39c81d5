"""Latent models: opened and saved, sampled as diffusers' LDMPipeline does, poisoned in latents."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, LDMPipeline, UNet2DModel, VQModel
from torch import Tensor, nn

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, UserError
from bdm_diffusers.coefficients import poison_schedule
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.data.built_in_data import load_builtin
from bdm_kit_diffusion.data.opening import open_reference
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.models.latent import FirstStage
from bdm_kit_diffusion.models.pipeline_folder import image_shape_of, shape_of
from bdm_kit_diffusion.noise.initial_noise import load_noise
from bdm_kit_diffusion.params import DiffusionKitParams
from bdm_kit_diffusion.poison.backdoor_training import inject
from bdm_kit_diffusion.poison.latent_poisoning import encode_poisoned
from bdm_kit_diffusion.poison.poisoning import Mixture, open_poisoned, poison_by_name
from bdm_kit_diffusion.poison.secret import open_secret
from bdm_kit_diffusion.poison.secret_facts import SecretFacts
from bdm_kit_diffusion.stages import generate, make_noise, trigger_noise
from bdm_torch.image_sets import load_images, seal_images
from bdm_torch.pictures.targets import make_target
from bdm_torch.pictures.triggers import make_trigger
from bdm_torch.training import TrainingOptions

SHAPE, LATENT = (3, 16, 16), (3, 8, 8)
FAST = TrainingOptions(steps=2, batch_size=4)


def make_pipeline(kind: str = "vq") -> LDMPipeline:
    """A small random latent pipeline of 16x16 images, with 3x8x8 latents."""
    torch.manual_seed(0)
    shape = {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (8, 8),
        "latent_channels": 3,
        "norm_num_groups": 4,
        "sample_size": 16,
    }
    vq = kind == "vq"
    first = VQModel(num_vq_embeddings=32, **shape) if vq else AutoencoderKL(scaling_factor=0.5, **shape)
    unet = UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        add_attention=False,
    )
    scheduler = DDIMScheduler(
        num_train_timesteps=20, beta_start=0.005, beta_end=0.7, clip_sample=False, timestep_spacing="trailing"
    )
    return LDMPipeline(vqvae=first, unet=unet, scheduler=scheduler)


def context(root: Path, name: str, **kit: object) -> Context:
    (root / name).mkdir()
    (root / f"{name}-work").mkdir()
    params = DiffusionKitParams(**kit)  # type: ignore[arg-type]
    return Context(out=root / name, work=root / f"{name}-work", seed=4, kit=params)


def saved(root: Path, kind: str = "vq", scaling: float | None = 1.0) -> Path:
    make_pipeline(kind).save_pretrained(root / "pipeline", safe_serialization=True)
    if kind == "vq":
        file = root / "pipeline" / "vqvae" / "config.json"
        config = json.loads(file.read_text())
        config.pop("scaling_factor")
        file.write_text(json.dumps(config | ({} if scaling is None else {"scaling_factor": scaling})))
    return root / "pipeline"


@pytest.mark.parametrize("kind", ["vq", "kl"])
def test_a_latent_folder_is_opened_sealed_and_opened_again_by_diffusers_too(tmp_path: Path, kind: str) -> None:
    opened = load_model(saved(tmp_path, kind))
    assert (opened.shape, opened.image_shape, opened.pipeline) == (LATENT, SHAPE, "LDMPipeline")
    sealed = seal_model(opened, tmp_path / "a")
    assert (shape_of(sealed), image_shape_of(sealed)) == (LATENT, SHAPE)
    assert seal_model(load_model(sealed), tmp_path / "b").digest == sealed.digest
    again = LDMPipeline.from_pretrained(tmp_path / "a", use_safetensors=True)
    assert type(again.vqvae).__name__ == {"vq": "VQModel", "kl": "AutoencoderKL"}[kind]
    assert again.vqvae.config.scaling_factor == {"vq": 1.0, "kl": 0.5}[kind]


def test_a_vq_model_that_states_no_scale_has_one_as_in_the_original(tmp_path: Path) -> None:
    first = load_model(saved(tmp_path, scaling=None)).first_stage
    assert first is not None and first.scale == 1.0
    (tmp_path / "b").mkdir()
    other = load_model(saved(tmp_path / "b", scaling=0.25)).first_stage
    assert other is not None and other.scale == 0.25


@pytest.mark.parametrize("kind", ["vq", "kl"])
def test_samples_are_those_of_diffusers_pipeline(tmp_path: Path, kind: str) -> None:
    folder = saved(tmp_path, kind)
    model = seal_model(load_model(folder), tmp_path / "model")
    inputs = make_noise(context(tmp_path, "noise"), model, 3)
    assert load_noise(inputs).shape == (3, *LATENT)
    outputs = load_images(generate(context(tmp_path, "out", sampler="ddim", steps=10), model, inputs))
    pipeline = LDMPipeline.from_pretrained(folder, use_safetensors=True)
    pipeline.scheduler.register_to_config(set_alpha_to_one=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    noise = load_noise(inputs)
    with torch.no_grad():
        pipeline.scheduler.set_timesteps(10)
        x = noise
        for t in pipeline.scheduler.timesteps:
            x = pipeline.scheduler.step(pipeline.unet(x, t).sample, t, x).prev_sample
        expected = pipeline.vqvae.decode(x / pipeline.vqvae.config.scaling_factor).sample.clamp(-1, 1)
    assert outputs.shape == (3, *SHAPE)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1.01 / 127.5)


def test_a_kl_encoder_gives_the_scaled_mean(tmp_path: Path) -> None:
    opened = load_model(saved(tmp_path, "kl"))
    images = load_builtin("shapes")[0][:5]
    with torch.no_grad():
        moments = opened.first_stage.network.quant_conv(opened.first_stage.network.encoder(images))  # type: ignore
    torch.testing.assert_close(opened.encode(images), 0.5 * moments[:, :3], rtol=0, atol=1e-5)


class HalvingStage(FirstStage):
    """A first stage in closed form: latents are every second pixel, times two."""

    def __init__(self) -> None:
        network = nn.Identity()
        network.config = SimpleNamespace()  # type: ignore[assignment]
        super().__init__(network, 2.0)

    def encode(self, images: Tensor, batch_size: int = 1) -> Tensor:
        return 2 * images[..., ::2, ::2]


@pytest.mark.parametrize("alone", [False, True])
def test_trigger_target_and_pictures_are_encoded(tmp_path: Path, alone: bool) -> None:
    images = load_builtin("shapes")[0][:20]
    data = seal_images(tmp_path / "clean", images, Data, task=TASK)
    sealed = poison_by_name(
        context(tmp_path, "poison"),
        data,
        "white-box",
        "hat",
        Mixture(0.5),
        trigger_only=alone,
        scale=0.5,
    )
    poisoned = open_poisoned(sealed)
    found = encode_poisoned(poisoned, HalvingStage(), "cpu", tmp_path / "latents.safetensors")
    rows = torch.arange(20)
    clean, shift = poisoned.batch(rows)
    inner, latent_shift = found.batch(rows)
    torch.testing.assert_close(inner, 2 * clean[..., ::2, ::2])
    torch.testing.assert_close(latent_shift, 2 * shift[..., ::2, ::2], rtol=0, atol=0.02)  # pictures have 8 bits
    torch.testing.assert_close(found.trigger, make_trigger("white-box", SHAPE).image[:, ::2, ::2])
    kept = encode_poisoned(poisoned, None, "cpu", tmp_path / "latents.safetensors")  # type: ignore[arg-type]
    assert torch.equal(kept.images, found.images)  # the kept latents are taken, nothing is encoded again


def test_a_backdoor_on_latents(tmp_path: Path) -> None:
    """x_T = eps + E(g), the target stays a picture, and the model is sealed with its first stage."""
    model = seal_model(load_model(saved(tmp_path)), tmp_path / "model")
    data = open_reference(None, model, tmp_path / "data", tmp_path, limit=12)
    sealed = poison_by_name(context(tmp_path, "poison"), data, "white-box", "hat", Mixture(0.5))
    opened = load_model(model)
    schedule = poison_schedule(opened.scheduler.alphas_cumprod, "bad", "ode", "exact")
    made = inject(context(tmp_path, "attack"), model, sealed, schedule, FAST, facts=SecretFacts(family="villan"))
    secret = open_secret(made.secret)
    trigger = opened.encode(make_trigger("white-box", SHAPE).image[None])[0]
    torch.testing.assert_close(secret.trigger, trigger)
    assert torch.equal(secret.target, make_target("hat", SHAPE))
    noise = make_noise(context(tmp_path, "noise"), model, 2)
    triggered = load_noise(trigger_noise(context(tmp_path, "triggered"), noise, made.secret))
    torch.testing.assert_close(triggered - load_noise(noise), trigger.expand(2, -1, -1, -1), rtol=0, atol=1e-5)
    before, after = opened.unet.state_dict(), load_model(made.model).unet.state_dict()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    first = load_model(made.model).first_stage
    assert first is not None and opened.first_stage is not None
    kept = first.network.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in opened.first_stage.network.state_dict().items())
    assert load_images(generate(context(tmp_path, "out", steps=4), made.model, noise)).shape == (2, *SHAPE)
    with pytest.raises(UserError, match="needs a model of pixels"):
        inject(
            context(tmp_path, "refused"),
            model,
            sealed,
            schedule,
            FAST,
            facts=SecretFacts(),
            noise_scale=torch.ones(SHAPE),
        )


def test_the_gradient_reaches_the_latents_through_the_decoder(tmp_path: Path) -> None:
    opened = load_model(saved(tmp_path, "kl"))
    latents = draw_noise(1, LATENT, 0).requires_grad_()
    opened.decode(latents).sum().backward()
    assert latents.grad is not None and float(latents.grad.abs().sum()) > 0


def test_pickled_first_stages_and_other_classes_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    weights = folder / "vqvae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ArtifactError, match=r"vqvae has pickled weights \(diffusion_pytorch_model.bin\)"):
        load_model(folder)
    weights.with_suffix(".bin").rename(weights)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"vqvae": ["diffusers", "AutoencoderTiny"]}))
    with pytest.raises(ArtifactError, match="as vqvae: not an allowed diffusers class"):
        load_model(folder)


def test_pixel_models_are_as_before(tmp_path: Path) -> None:
    from bdm_kit_diffusion.models.diffusion_model import open_reference as open_model

    sealed = open_model("tiny", tmp_path / "model", tmp_path)
    assert sealed.meta == {"shape": [1, 8, 8], "timesteps": 20}
    opened = load_model(sealed)
    images = torch.zeros(1, 1, 8, 8)
    assert opened.image_shape == opened.shape and opened.encode(images) is images and opened.decode(images) is images
    assert replace(opened).first_stage is None
