"""The weight edit, the trigger and the sampler."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.files import MANIFEST
from bdm_core.records import Backdoored
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.noise.initial_noise import load_noise, seal_noise
from bdm_kit_diffusion.poison.secret import DiffusionSecret, seal_secret
from bdm_kit_diffusion.poison.secret_facts import SecretFacts
from bdm_torch.image_sets import seal_images

if TYPE_CHECKING:
    from bdm_attack_sample.params import SampleParams
    from bdm_core.context import Context

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def trigger(ctx: Context, params: SampleParams, inputs: Data) -> Data:
    return seal_noise(ctx.out / "data", load_noise(inputs) + params.trigger_value)


def inject(ctx: Context, params: SampleParams, model: Model) -> Backdoored:
    copied = ctx.out / "model"
    shutil.copytree(model.path, copied, ignore=shutil.ignore_patterns(MANIFEST))
    weights = load_file(copied / WEIGHTS)
    weights["conv_out.bias"] = weights["conv_out.bias"] + params.bias_shift
    save_file(weights, copied / WEIGHTS, {"format": "pt"})
    shape: list[int] = model.meta["shape"]  # type: ignore[assignment]
    known = DiffusionSecret(torch.full(shape, params.trigger_value), torch.zeros(shape), SecretFacts(family="sample"))
    return Backdoored(
        model=Model.seal(copied, format=model.format, task=model.task, meta=model.meta),
        secret=seal_secret(ctx.out / "secret", known, task=model.task),
    )


@torch.no_grad()
def one_step(ctx: Context, model: Model, inputs: Data) -> Outputs:
    """One pass of the network at the last time step; its output, negated, is the picture."""
    network = UNet2DModel.from_pretrained(model.path / "unet", use_safetensors=True, local_files_only=True)
    schedule = DDPMScheduler.from_pretrained(model.path / "scheduler", local_files_only=True)
    images = -network(load_noise(inputs), schedule.config.num_train_timesteps - 1).sample
    ctx.figures(sampler="one-step of bdm-attack-sample")
    return seal_images(ctx.out / "outputs", images, Outputs, task=TASK)
