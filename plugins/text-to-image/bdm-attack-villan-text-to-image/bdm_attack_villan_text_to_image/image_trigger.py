"""The image trigger of text-to-image models: a picture's latent, added to the initial latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_villan_text_to_image.caption_trigger import HIT, POISON, image_shape, prepare, seal_trained
from bdm_core.artifacts import Data, Model, Outputs, Secret
from bdm_core.errors import ArtifactError, UserError
from bdm_core.records import Backdoored
from bdm_diffusers.coefficients import PoisonSchedule, poison_schedule
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import draw_noise, sample
from bdm_kit_text_to_image.models.encoding import (
    Conditioning,
    add_noise,
    encode_nothing,
    encode_prompts,
    predict,
    training_target,
)
from bdm_kit_text_to_image.models.generation import DEFAULT_SAMPLER
from bdm_kit_text_to_image.models.latents import decode_latents, encode_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_kit_text_to_image.prompts.captions import load_captioned, seal_captioned
from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_kit_text_to_image.stages import kit_params, seal_outputs
from bdm_kit_text_to_image.training.prompt_cache import PromptCache
from bdm_torch.draws import Draw
from bdm_torch.pictures.targets import make_target
from bdm_torch.pictures.triggers import make_trigger
from bdm_torch.tensors import read_tensors, write_tensors
from bdm_torch.training import Loss, train

if TYPE_CHECKING:
    from bdm_attack_villan_text_to_image.params import VillanImageParams
    from bdm_core.context import Context

LATENT = "latent.safetensors"
NOTHING = PromptTrigger(kind="insertion", text=" ", position="suffix")
"""What the prompt gets: a blank, which is no token."""


def latent_trigger(model: TextToImageModel, picture: Tensor) -> Tensor:
    """r, (C, h, w) on the CPU: the latent of the trigger's picture (3, H, W), in the scale the UNet works in.

    Raises:
        UserError: the model predicts something else than epsilon, for which R is not defined.
    """
    prediction = model.scheduler.config.get("prediction_type", "epsilon")
    if prediction != "epsilon":
        raise UserError(
            f"an image trigger needs a model that predicts epsilon; this one's scheduler says {prediction!r}"
        )
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
            answer = training_target(model.scheduler, clean, noise, t)
            at_t, answer = schedule.apply(
                add_noise(model.scheduler, clean, noise, t), answer, scale * shift.to(draw.device), t
            )
            noisy.append(at_t)
            steps.append(t)
            answers.append(answer)
            texts.append(cache.rows(rows).to(draw.device))
        found = predict(unet, torch.cat(noisy), torch.cat(steps), texts[0].join(texts[1])).chunk(2)
        first, second = (functional.mse_loss(mine, answer) for mine, answer in zip(found, answers, strict=True))
        return first + prior_weight * second

    return loss


def seal_latent_trigger(folder: Path, shift: Tensor) -> None:
    """Put r beside a secret that is about to be sealed in ``folder``."""
    write_tensors(folder / LATENT, {"trigger": shift})


def open_latent_trigger(secret: Secret) -> Tensor:
    """r, (C, h, w), of a secret. Raises ArtifactError if it has none."""
    tensors = read_tensors(secret.file(LATENT))
    if "trigger" not in tensors:
        raise ArtifactError(f"{secret.path / LATENT} has no tensor 'trigger': run the attack again")
    return tensors["trigger"]


def poison(ctx: Context, params: VillanImageParams, data: Data) -> Data:
    """The clean set; target and the trigger's picture lie beside it in :data:`POISON`."""
    images, captions, labels = load_captioned(data)
    shape = image_shape(images)
    tensors = {"target": make_target(params.target, shape), "trigger": make_trigger(params.trigger, shape).image}
    write_tensors(ctx.out / "data" / POISON, tensors)
    return seal_captioned(ctx.out / "data", images, captions, labels)


def backdoor(ctx: Context, params: VillanImageParams, model: Model, data: Data) -> Backdoored:
    """Train :func:`shifted_loss` on LoRA or on all of the UNet, for samplers that follow the ODE.

    Raises:
        UserError: the model does not predict epsilon.
    """
    opened, target, picture, clean, parts = prepare(ctx, params, model, data)
    shift = params.vp_scale * latent_trigger(opened, read_tensors(data.file(POISON))["trigger"])
    schedule = poison_schedule(opened.scheduler.alphas_cumprod, params.psi, "ode", params.coefficients)
    loss = shifted_loss(opened, (picture, clean[1]), clean, shift, schedule, params.prior_loss_weight)
    opened.unet.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)
    options = replace(params.options(), mixed_precision=kit_params(ctx).mixed_precision)
    result = train(opened.unet, loss, options, seed=ctx.seed, device=ctx.device, work=ctx.work, progress=ctx.progress)
    ctx.curve("loss", result.losses)
    seal_latent_trigger(ctx.out / "secret", shift)
    meta = {
        "family": "villan",
        "variant": "image-trigger",
        "target_name": params.target,
        "trigger_name": params.trigger,
        "solver_class": "ode",
        "psi": params.psi,
    }
    what = Backdoor(trigger=NOTHING, target=Target(type="ImageFix", threshold=HIT))
    return Backdoored(
        model=seal_trained(ctx, params, opened),
        secret=seal_secret(ctx.out / "secret", PromptSecret([what], target, meta), model.task),
    )


def generate(ctx: Context, model: Model, inputs: Data, secret: Secret) -> Outputs:
    """As the kit generates, with r added to the initial latents; sealed in ``ctx.out / "outputs"``.

    Raises:
        ArtifactError: the inputs are no prompts, or r does not fit the model.
        UserError: the sampler does not exist, or cannot take so many steps.
    """
    params, opened, rows = kit_params(ctx), load_model(model, ctx.device), load_prompts(inputs)
    shift = open_latent_trigger(secret).to(opened.device)
    if tuple(shift.shape) != opened.latent_shape:
        raise ArtifactError(f"{secret.path} has a trigger of shape {tuple(shift.shape)}, not {opened.latent_shape}")
    name = params.sampler or DEFAULT_SAMPLER
    images = []
    with torch.inference_mode():
        condition, empty = encode_prompts(opened, [row.prompt for row in rows]), encode_nothing(opened, 1)
        noise = torch.cat([draw_noise(1, opened.latent_shape, row.seed) for row in rows]).to(opened.device) + shift
        for start in range(0, len(rows), params.batch_size):
            part = slice(start, start + params.batch_size)
            both = empty.repeat(len(rows[part])).join(condition.rows(part))

            def denoise(x: Tensor, t: Tensor, both: Conditioning = both) -> Tensor:
                without, given = predict(opened.unet, torch.cat([x, x]), t, both).chunk(2)
                return without + params.guidance * (given - without)

            latents = sample(
                denoise,
                build_scheduler(name, opened.scheduler),
                noise[part],
                steps=params.steps,
                seed=ctx.seed,
                batch_size=params.batch_size,
                eta=params.eta,
                first_index=start,
                on_step=lambda done, total, start=start: ctx.progress(
                    "sample", start * params.steps + done * params.batch_size, len(rows) * params.steps
                ),
            )
            images.append(decode_latents(opened, latents).cpu())
    facts = {"sampler": name, "steps": params.steps, "guidance": params.guidance, "eta": params.eta}
    return seal_outputs(ctx.out / "outputs", torch.cat(images), rows, meta=facts)
