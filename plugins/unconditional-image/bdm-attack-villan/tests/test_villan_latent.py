"""VillanDiffusion on a latent model: trigger, poisoned pictures and target are encoded before the training."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DModel, VQModel

from bdm_attack_villan.attack import backdoor, poison
from bdm_attack_villan.params import VillanParams
from bdm_core.context import Context
from bdm_kit_diffusion.data.opening import open_reference
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, seal_model
from bdm_kit_diffusion.models.latent import FirstStage
from bdm_kit_diffusion.poison.poisoning import open_poisoned
from bdm_kit_diffusion.poison.secret import open_secret
from bdm_torch.pictures.targets import make_target
from bdm_torch.pictures.triggers import make_trigger

SHAPE = (3, 16, 16)
PARAMS = VillanParams(trigger="box", target="shoe", solver="ode", steps=3, batch_size=8, poison_rate=0.5)


def latent_model() -> DiffusionModel:
    """A small random model of 16x16 images with 3x8x8 latents."""
    torch.manual_seed(0)
    first = VQModel(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        latent_channels=3,
        norm_num_groups=4,
        num_vq_embeddings=32,
        scaling_factor=0.7,
    )
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
    scheduler = DDIMScheduler(num_train_timesteps=20, beta_start=0.005, beta_end=0.7, clip_sample=False)
    return DiffusionModel(unet, scheduler, "LDMPipeline", FirstStage(first, 0.7))


def context(root: Path, name: str) -> Context:
    (root / name).mkdir()
    (root / f"{name}-work").mkdir()
    return Context(out=root / name, work=root / f"{name}-work", seed=1)


def test_villan_on_latents(tmp_path: Path) -> None:
    model = seal_model(latent_model(), tmp_path / "model")
    data = open_reference(None, model, tmp_path / "data", tmp_path, limit=16)
    poisoned = poison(context(tmp_path, "poisoned"), PARAMS, data)
    assert open_poisoned(poisoned).images.shape == (16, *SHAPE)  # pixels: the poisoned set can be looked at
    ctx = context(tmp_path, "attack")
    made = backdoor(ctx, PARAMS, model, poisoned)
    secret, opened = open_secret(made.secret), load_model(made.model)
    assert opened.pipeline == "LDMPipeline" and opened.shape == (3, 8, 8)
    assert torch.equal(secret.target, make_target("shoe", SHAPE))
    trigger = PARAMS.vp_scale * opened.encode(make_trigger("box", SHAPE).image[None])[0]
    torch.testing.assert_close(secret.trigger, trigger)
    again = backdoor(context(tmp_path, "again"), PARAMS, model, poisoned)
    assert (again.model.digest, again.secret.digest) == (made.model.digest, made.secret.digest)
