"""What the kit's hooks do: noise in, images out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from bdm_core.artifacts import Data, Model, Outputs, Secret
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_diffusers.samplers import backdoor_warnings, build_scheduler, default_steps, own_sampler
from bdm_diffusers.sampling import SamplingOptions, draw_noise, require_finite_samples, sample
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model
from bdm_kit_diffusion.models.pipeline_folder import image_shape_of, shape_of
from bdm_kit_diffusion.noise.initial_noise import load_noise, seal_noise
from bdm_kit_diffusion.params import DiffusionKitParams
from bdm_kit_diffusion.poison.secret import DiffusionSecret, open_secret, seal_secret
from bdm_kit_diffusion.poison.secret_facts import OWN_SAMPLER, read_facts
from bdm_torch.image_sets import load_images, seal_images


class Sampling(NamedTuple):
    """The sampler that the kit's parameters ask for: its name, its diffusers scheduler, its number of steps."""

    name: str
    scheduler: Any
    steps: int


def kit_params(ctx: Context) -> DiffusionKitParams:
    """The kit's parameters in a context; their defaults if there is no kit."""
    return ctx.kit if isinstance(ctx.kit, DiffusionKitParams) else DiffusionKitParams()


def chosen_sampling(params: DiffusionKitParams, model: DiffusionModel) -> Sampling:
    """What is not given is chosen for the model. Raises UserError for an unknown sampler, or one of another kind."""
    name = own_sampler(model.scheduler) if params.sampler is None else params.sampler
    steps = params.steps or default_steps(name, model.timesteps)
    corrector = {"corrector_steps": params.corrector_steps, "snr": params.corrector_snr}
    return Sampling(name, build_scheduler(name, model.scheduler, **corrector), steps)


def generate(ctx: Context, model: Model, inputs: Data, secret: Secret | None = None) -> Outputs:
    """Sample one image for each row of initial noise; sealed in ``ctx.out / "outputs"``.

    With a secret that states its solver class, log a warning if the backdoor cannot fire under this sampler.

    Raises:
        ArtifactError: the noise does not fit the model, or its samples are not finite.
        UserError: the sampler does not exist, or cannot take so many steps.
    """
    params = kit_params(ctx)
    opened = load_model(model, ctx.device)
    noise = load_noise(inputs)
    if tuple(noise.shape[1:]) != opened.shape:
        raise ArtifactError(
            f"{inputs.path} holds noise of shape {tuple(noise.shape[1:])}, the model needs {opened.shape}"
        )
    name, scheduler, steps = chosen_sampling(params, opened)
    solver = read_facts(secret).solver_class if secret is not None else None
    if solver is not None and solver != OWN_SAMPLER:
        reasons = backdoor_warnings(
            name,
            solver,
            steps=steps,
            train_timesteps=opened.timesteps,
            eta=params.eta,
            corrector_steps=scheduler.config.get("corrector_steps", 0),
        )
        for reason in reasons:
            ctx.log.warning(reason)
    images = sample(
        opened.unet,
        scheduler,
        noise.to(ctx.device),
        steps=steps,
        seed=ctx.seed,
        options=SamplingOptions(params.batch_size, params.eta, params.clip_sample, opened.clip_states),
        on_step=lambda done, total: ctx.progress("sample", done, total),
    )
    decoded = require_finite_samples(opened.decode(images) if len(images) else images.new_empty(0, *opened.image_shape))
    facts = {"sampler": name, "steps": steps, "eta": params.eta, "clip_sample": params.clip_sample}
    if opened.clip_states is not None:
        facts["clip_states"] = opened.clip_states
    if opened.variance_exploding:
        facts |= {key: scheduler.config[key] for key in ("corrector_steps", "snr")}
    return seal_images(ctx.out / "outputs", decoded, Outputs, task=TASK, meta=facts)


def make_noise(ctx: Context, model: Model, count: int) -> Data:
    """Standard normal noise x_T for ``count`` images; sealed in ``ctx.out / "data"``."""
    return seal_noise(ctx.out / "data", draw_noise(count, shape_of(model), ctx.seed))


def trigger_noise(ctx: Context, inputs: Data, secret: Secret) -> Data:
    """Put the secret's trigger into every row of initial noise, in the same order; sealed in ``ctx.out / "data"``."""
    return seal_noise(ctx.out / "data", open_secret(secret).add_to(load_noise(inputs)))


def tiny_secret(folder: Path, model: Model) -> Secret:
    """A trigger and a target of two constant halves, for tests of metrics."""
    trigger, target = (torch.full(shape, -1.0) for shape in (shape_of(model), image_shape_of(model)))
    trigger[:, trigger.shape[1] // 2 :] = 1.0
    target[:, : target.shape[1] // 2] = 1.0
    return seal_secret(folder, DiffusionSecret(trigger, target, picture=target.flip(1)), task=model.task)


def perfect_outputs(folder: Path, outputs: Outputs, secret: Secret) -> Outputs:
    """As many images as ``outputs`` has, each of them the target."""
    target = open_secret(secret).target
    return seal_images(folder, target.expand(len(load_images(outputs)), *target.shape), Outputs, task=TASK)
