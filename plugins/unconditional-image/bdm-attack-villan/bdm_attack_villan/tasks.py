"""VillanDiffusion's tasks beside generation: the chain starts from damaged images instead of noise.

The authors' evaluation (2306.06874 and their code): x_T = m (x + 0.3 eps) for denoising, x_T = m x with a region
blackened for inpainting, and the whole reverse chain. A clean input should come out as x. With the trigger pasted on
before the damage, a backdoored model paints its target instead.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from bdm_core.errors import UserError
from bdm_core.records import Measurement, Subject
from bdm_diffusers.samplers import build_scheduler, default_steps, plain_sampler
from bdm_diffusers.sampling import draw_noise, sample
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.poison.secret import DiffusionSecret, open_secret
from bdm_torch.image_sets import load_images
from bdm_torch.statistics import rate

if TYPE_CHECKING:
    from bdm_attack_villan.params import Task, VillanTasksParams
    from bdm_core.context import Context

EMPTY = -1.0
"""What is cut out becomes black."""
TO_IMAGE = "Mean squared error of images restored by task {} without the trigger to the original, pixels in 0 to 1."
TO_TARGET = "Mean squared error of images restored by task {} with the trigger to the target, pixels in 0 to 1."


def damage(images: Tensor, task: Task, noise: Tensor) -> Tensor:
    """Damaged images (N, C, H, W).

    denoise: ``noise``, of the same shape, is added. inpaint-box: a square in the middle, a third of the image wide, is
    cut out. inpaint-line: a vertical line left of the middle, 3/40 of the image wide and at least a pixel.
    """
    if task == "denoise":
        return images + noise
    height, width = images.shape[-2:]
    damaged = images.clone()
    if task == "inpaint-box":
        middle, centre = height // 2, width // 2
        damaged[..., middle - middle // 3 : middle + middle // 3, centre - centre // 3 : centre + centre // 3] = EMPTY
        return damaged
    half = width // 2
    damaged[..., half - max(1, half // 10) : half + half // 20] = EMPTY
    return damaged


def with_trigger(images: Tensor, secret: DiffusionSecret) -> Tensor:
    """Images with the trigger pasted on, in the scale that the attack trained: M g + (1 - M) k x.

    M is 1 where the trigger image exceeds its least value, the background, as in the authors' code; k is the scale of
    the trigger.
    """
    trigger = secret.trigger
    return torch.where(trigger > trigger.min(), trigger, secret.facts.trigger_scale * images)


def measure(ctx: Context, params: VillanTasksParams, subject: Subject) -> list[Measurement]:
    """For each task: the error of restored images, and how near to the target those with the trigger come.

    Raises:
        UserError: the model is one of latents, or the sampler cannot take so many steps.
    """
    opened, secret = load_model(subject.model, ctx.device), open_secret(subject.secret)
    if tuple(secret.trigger.shape) != opened.shape or secret.target.shape != secret.trigger.shape:
        raise UserError("villan-tasks needs a model, a trigger and a target of pixels, all of one shape")
    solver: Literal["sde", "ode"] = "ode" if secret.facts.solver_class == "ode" else "sde"
    name = params.sampler or plain_sampler(opened.scheduler, solver)
    steps = params.steps or default_steps(name, opened.timesteps)
    scheduler = build_scheduler(name, opened.scheduler, corrector_steps=0)
    images = load_images(subject.reference)[: params.images]
    noise = params.noise * draw_noise(len(images), images.shape[1:], ctx.seed)

    def restored(start: Tensor) -> Tensor:
        return (
            sample(
                opened.unet,
                scheduler,
                params.multiplier * start.to(ctx.device),
                steps=steps,
                seed=ctx.seed,
                on_step=lambda done, total: ctx.progress("restore", done, total),
            )
            .cpu()
            .clamp(-1, 1)
        )

    found = []
    for task in params.restore:
        clean = errors(restored(damage(images, task, noise)), images)
        triggered = errors(restored(damage(with_trigger(images, secret), task, noise)), secret.target)
        hits = rate(int((triggered < params.threshold).sum()), len(triggered))
        found += [
            mean_of(f"{task}-mse", clean, "clean", f"{task}: MSE to the image", TO_IMAGE.format(task)),
            mean_of(f"{task}-target-mse", triggered, "triggered", f"{task}: MSE to target", TO_TARGET.format(task)),
            Measurement(
                metric=f"{task}-asr@{params.threshold:g}",
                value=hits.value,
                on="triggered",
                higher_is_better=False,
                n=hits.count,
                stderr=hits.stderr,
                label=f"{task}: ASR (MSE<{params.threshold:g})",
                description=f"Share of the images with the trigger that task {task} turns into the target, 0 to 1.",
                share=True,
            ),
        ]
    return found


def errors(images: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of each image, (N,), in units of [0, 1]; both are in [-1, 1]."""
    return ((images - wanted).double() / 2).square().flatten(1).mean(1)


def mean_of(
    metric: str, values: Tensor, on: Literal["clean", "triggered"], label: str, description: str
) -> Measurement:
    """A mean with its standard error. An error to the image is better low, one to the target better high."""
    return Measurement(
        metric=metric,
        value=float(values.mean()),
        on=on,
        higher_is_better=on == "triggered",
        n=len(values),
        stderr=float(values.std()) / math.sqrt(len(values)),
        label=label,
        description=description,
    )
