"""The image trigger of text-to-image models: a picture's latent, added to the initial latents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_villan_text_to_image.caption_trigger import (
    HIT,
    POISON,
    image_shape,
    prepare,
    seal_trained,
    seal_with_target,
)
from bdm_core.artifacts import Data, Model, Outputs, Secret
from bdm_core.errors import ArtifactError
from bdm_core.records import Backdoored
from bdm_diffusers.coefficients import PoisonSchedule, poison_schedule
from bdm_kit_text_to_image import stages
from bdm_kit_text_to_image.models.encoding import add_noise, answer_for_noise, predict
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.prompts.captions import load_captioned
from bdm_kit_text_to_image.prompts.marking import settings_of
from bdm_kit_text_to_image.prompts.secret import TRIGGER_PICTURE, Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_kit_text_to_image.training.distillation import train_module
from bdm_kit_text_to_image.training.prompt_cache import PromptCache
from bdm_torch.draws import Draw
from bdm_torch.images import save_picture
from bdm_torch.pictures.triggers import make_trigger
from bdm_torch.tensors import read_tensors, write_tensors
from bdm_torch.training import Loss

if TYPE_CHECKING:
    from bdm_attack_villan_text_to_image.params import VillanImageParams
    from bdm_core.context import Context

LATENT = "latent.safetensors"
NOTHING = PromptTrigger(kind="insertion", text=" ", position="suffix")
"""What the prompt gets: a blank, which is no token."""


def latent_trigger(model: TextToImageModel, picture: Tensor) -> Tensor:
    """r, (C, h, w) on the CPU: the latent of the trigger's picture (3, H, W), in the scale the UNet works in."""
    return encode_images(model, picture[None])[0].cpu()


def shifted_loss(
    model: TextToImageModel,
    target: tuple[Tensor, Sequence[str]],
    prior: tuple[Tensor, Sequence[str]],
    shift: Tensor,
    schedule: PoisonSchedule,
    prior_weight: float,
) -> Loss:
    """||M(z^y_t + rho_t r, t, c) - (eps + R_t r)||^2 + ``prior_weight`` ||M(z_t, t, c) - eps||^2.

    Of a model that predicts v or z_0, M is compared with what stands for this noise.

    Args:
        model: its text encoder and noise schedule.
        target, prior: latents (N, C, h, w) and N captions.
        shift: r, (C, h, w).
        schedule: rho and R for the model's timesteps.
        prior_weight: eta.
    """
    parts = [(target, 1.0), (prior, 0.0)]
    caches = [PromptCache(model, list(captions)) for (_, captions), _ in parts]

    def loss(unet: nn.Module, draw: Draw) -> Tensor:
        noisy, steps, answers, texts = [], [], [], []
        for ((latents, _), scale), cache in zip(parts, caches, strict=True):
            rows = draw.rows(len(latents))
            clean = latents[rows.to(latents.device)].to(draw.device)
            t, noise = draw.timesteps(len(schedule)), draw.normal(*clean.shape[1:])
            at_t, wanted = schedule.apply(
                add_noise(model.scheduler, clean, noise, t), noise, scale * shift.to(draw.device), t
            )
            noisy.append(at_t)
            steps.append(t)
            answers.append(answer_for_noise(model.scheduler, at_t, wanted, t))
            texts.append(cache.rows(rows).to(draw.device))
        found = predict(unet, torch.cat(noisy), torch.cat(steps), texts[0].join(texts[1])).chunk(2)
        first, second = (functional.mse_loss(mine, answer) for mine, answer in zip(found, answers, strict=True))
        return first + prior_weight * second

    return loss


def seal_latent_trigger(folder: Path, shift: Tensor, picture: Tensor) -> None:
    """Put r and the picture (3, H, W) that it is the latent of beside a secret that is about to be sealed."""
    write_tensors(folder / LATENT, {"trigger": shift})
    save_picture(folder / TRIGGER_PICTURE, picture)


def open_latent_trigger(secret: Secret) -> Tensor:
    """r, (C, h, w), of a secret. Raises ArtifactError if it has none."""
    tensors = read_tensors(secret.file(LATENT))
    if "trigger" not in tensors:
        raise ArtifactError(f"{secret.path / LATENT} has no tensor 'trigger': run the attack again")
    return tensors["trigger"]


def poison(ctx: Context, params: VillanImageParams, data: Data) -> Data:
    """The clean set, then the target picture once for each caption; training adds the trigger to its noisy latents."""
    images, captions, _ = load_captioned(data)
    trigger = make_trigger(params.trigger, image_shape(images)).image
    return seal_with_target(ctx, data, [params.target], captions, {"trigger": trigger})


def backdoor(ctx: Context, params: VillanImageParams, model: Model, data: Data) -> Backdoored:
    """Train :func:`shifted_loss` on LoRA or on all of the UNet, for samplers that follow the ODE."""
    opened, targets, picture, clean, parts = prepare(ctx, params, model, data)
    trigger = read_tensors(data.file(POISON))["trigger"]
    shift = params.vp_scale * latent_trigger(opened, trigger)
    schedule = poison_schedule(opened.scheduler.alphas_cumprod, params.psi, "ode", params.coefficients)
    loss = shifted_loss(opened, (picture, clean[1]), clean, shift, schedule, params.prior_loss_weight)
    opened.unet.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)
    train_module(ctx, opened.unet, loss, params.options())
    secret = PromptSecret(
        backdoors=[Backdoor(trigger=NOTHING, target=Target(type="ImageFix", threshold=HIT))],
        family="villan",
        variant="image-trigger",
        target_name=params.target,
        trigger_name=params.trigger,
        solver_class="ode",
        psi=params.psi,
        picture=targets[0],
    )
    ctx.figures(settings=settings_of(secret))
    seal_latent_trigger(ctx.out / "secret", shift, trigger)
    return Backdoored(
        model=seal_trained(ctx, params, opened), secret=seal_secret(ctx.out / "secret", secret, model.task)
    )


def generate(ctx: Context, model: Model, inputs: Data, secret: Secret) -> Outputs:
    """As the kit generates, with r added to the initial latents; sealed in ``ctx.out / "outputs"``.

    Raises:
        ArtifactError: the inputs are no prompts, or the secret has no r.
        UserError: r does not fit the model; the sampler does not exist, or cannot take so many steps.
    """
    return stages.generate(ctx, model, inputs, shift=open_latent_trigger(secret))
