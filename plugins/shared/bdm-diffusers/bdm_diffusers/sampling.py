"""The one sampling loop, for every diffusers scheduler.

Not diffusers' pipelines: none of them takes x_T, and PNDMPipeline replaces whatever scheduler it is given.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bdm_core.errors import ArtifactError, UserError
from bdm_diffusers.ancestral import AncestralChain, StepNoise
from bdm_diffusers.samplers import check_steps

OnStep = Callable[[int, int], None]
"""Called as on_step(done, total) after each model call; total counts all batches."""


def image_generators(
    seed: int, count: int, *, first_index: int = 0, purpose: str = "sampling"
) -> list[torch.Generator]:
    """One CPU generator an image, a function of (seed, purpose, index) only.

    Indices of one seed never share a stream; different seeds and purposes start at unrelated places.

    >>> first, second = image_generators(0, 2)
    >>> (again,) = image_generators(0, 1, first_index=1)
    >>> second.initial_seed() == again.initial_seed() != first.initial_seed()
    True
    """
    start = int.from_bytes(hashlib.sha256(f"{purpose}/{seed}".encode()).digest()[:4], "big")
    return [torch.Generator().manual_seed((start + first_index + i) % 2**32) for i in range(count)]


def draw_noise(count: int, shape: Sequence[int], seed: int, *, first_index: int = 0) -> Tensor:
    """x_T: standard normal, float32 (count, *shape) on the CPU; image i depends on (seed, first_index + i) only.

    >>> noise = draw_noise(4, (1, 8, 8), seed=0)
    >>> noise.shape, torch.equal(noise[2:], draw_noise(2, (1, 8, 8), seed=0, first_index=2))
    (torch.Size([4, 1, 8, 8]), True)
    """
    generators = image_generators(seed, count, first_index=first_index, purpose="initial-noise")
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators])


@dataclass(frozen=True)
class SamplingOptions:
    """How to run a chain.

    Attributes:
        batch_size: images at once; a result does not depend on it.
        eta: DDIM's, 0 (deterministic) to 1 (ancestral).
        clip_sample: clip the estimates of x_0 to [-1, 1]; it changes, and may destroy, a backdoor.
        clip_states: clip what every step leaves, noise included, to plus or minus this, see :func:`state_limit`; None:
            not.
        first_index: the number of the first image, when a set is split over calls.
    """

    batch_size: int = 128
    eta: float = 0.0
    clip_sample: bool = False
    clip_states: float | None = None
    first_index: int = 0


PLAIN = SamplingOptions()


def sample(
    model: Callable[..., Any],
    scheduler: Any,
    initial_noise: Tensor,
    *,
    steps: int,
    seed: int = 0,
    options: SamplingOptions = PLAIN,
    on_step: OnStep | None = None,
) -> Tensor:
    """Run the reverse process from given x_T; returns float32 (N,C,H,W) on initial_noise's device, without gradient.

    Args:
        model: a UNet2DModel, or any callable (x, t) -> eps-prediction (a tensor, or an object with it as `.sample`).
        scheduler: any diffusers scheduler; it is copied, never changed.
        initial_noise: (N, C, H, W), N(0, I) plus the trigger; it is multiplied by init_noise_sigma here.
        steps: sampling steps.
        seed: of the noise that stochastic samplers add, drawn for each image from its own generator, so that a result
            does not depend on the batch.
        options: batches, DDIM's eta, clipping.
        on_step: told of the progress.

    Raises:
        UserError: impossible steps, batch size, eta or clip_sample.
        ArtifactError: the samples are not finite.

    >>> from diffusers import DDPMScheduler
    >>> from bdm_diffusers.samplers import build_scheduler
    >>> scheduler = build_scheduler("ddim", DDPMScheduler(num_train_timesteps=100))
    >>> sample(lambda x, t: torch.zeros_like(x), scheduler, draw_noise(2, (1, 8, 8), seed=0), steps=10).shape
    torch.Size([2, 1, 8, 8])
    """
    batch_size = options.batch_size
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1, not {batch_size}")
    scheduler = _configured(scheduler, options.clip_sample)
    check_steps(scheduler, steps)
    training = isinstance(model, nn.Module) and model.training
    if isinstance(model, nn.Module):
        model.eval()
    noise = initial_noise.detach().to(torch.float32)
    done, batches = 0, -(-len(noise) // batch_size)

    def count(calls: int) -> None:
        nonlocal done
        done += 1
        if on_step is not None:
            on_step(done, batches * calls)

    images = []
    try:
        with torch.inference_mode():
            for start in range(0, len(noise), batch_size):
                x = noise[start : start + batch_size]
                generators = image_generators(seed, len(x), first_index=options.first_index + start)
                images.append(_reverse(model, scheduler, x, steps, generators, options, count))
    finally:
        if training:
            model.train()  # type: ignore[attr-defined]
    return require_finite_samples(torch.cat(images).clone() if images else noise.clone())


def differentiable_sample(
    model: Callable[..., Any], scheduler: Any, initial_noise: Tensor, *, steps: int, seed: int = 0, eta: float = 0.0
) -> Tensor:
    """The same loop in one batch, with gradients from the images to initial_noise and the model (keep steps small).

    Raises:
        UserError, ArtifactError: as :func:`sample`.

    >>> from diffusers import DDPMScheduler
    >>> from bdm_diffusers.samplers import build_scheduler
    >>> scheduler = build_scheduler("ddim", DDPMScheduler(num_train_timesteps=100))
    >>> trigger = torch.zeros(1, 8, 8, requires_grad=True)
    >>> noise = draw_noise(2, (1, 8, 8), seed=0) + trigger
    >>> differentiable_sample(lambda x, t: 0.1 * x, scheduler, noise, steps=2).sum().backward()
    >>> trigger.grad.shape
    torch.Size([1, 8, 8])
    """
    scheduler = _configured(scheduler, clip_sample=False)
    check_steps(scheduler, steps)
    generators = image_generators(seed, len(initial_noise))
    images = _reverse(model, scheduler, initial_noise, steps, generators, SamplingOptions(eta=eta), None)
    return require_finite_samples(images)


def require_finite_samples(images: Tensor) -> Tensor:
    """The same images (N, C, H, W). Raises ArtifactError if one holds NaN or infinity: no model is judged by such.

    >>> require_finite_samples(torch.zeros(2, 1, 4, 4)).shape
    torch.Size([2, 1, 4, 4])
    >>> require_finite_samples(torch.full((2, 1, 4, 4), torch.nan))
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: 2 of 2 samples of the model hold NaN or infinity: ...
    """
    damaged = int((~images.detach().isfinite()).flatten(1).any(1).sum()) if images.numel() else 0
    if damaged:
        raise ArtifactError(
            f"{damaged} of {len(images)} samples of the model hold NaN or infinity: its training diverged, or its "
            "weights or noise schedule are damaged"
        )
    return images


def _reverse(
    model: Callable[..., Any],
    scheduler: Any,
    noise: Tensor,
    steps: int,
    generators: list[torch.Generator],
    options: SamplingOptions,
    on_call: Callable[[int], None] | None,
) -> Tensor:
    scheduler = copy.deepcopy(scheduler)  # multistep solvers remember their last steps
    scheduler.set_timesteps(steps, device=noise.device)
    accepted = inspect.signature(scheduler.step).parameters
    arguments: dict[str, Any] = {"generator": generators} if "generator" in accepted else {}
    if options.eta and "eta" not in accepted:
        raise UserError(f"{type(scheduler).__name__} has no eta; only ddim takes one")
    if options.eta:
        arguments["eta"] = options.eta
    x = noise * scheduler.init_noise_sigma
    chain = AncestralChain(scheduler) if AncestralChain.fits(scheduler) else None
    drawn = StepNoise(generators, noise.shape[1:], chain.draws) if chain is not None else None
    for number, t in enumerate(scheduler.timesteps):
        output = model(scheduler.scale_model_input(x, t), t)
        prediction = output if isinstance(output, Tensor) else output.sample
        if chain is not None and drawn is not None:
            x = chain.step(number, prediction, x, drawn)
        else:
            x = scheduler.step(prediction, t, x, **arguments).prev_sample
        if options.clip_states is not None:
            limit = state_limit(scheduler, options.clip_states)
            x = x.clamp(-limit, limit)
        if on_call is not None:
            on_call(len(scheduler.timesteps))
    return x


def state_limit(scheduler: Any, limit: float) -> float:
    """The bound on what a step leaves, in the scheduler's own units: ``limit`` on sqrt(abar) x_0 + sqrt(1 - abar) eps.

    Schedulers that count in x_0 + sigma eps (Euler, Heun, LMS) have sqrt(1 + sigma^2) times that.

    >>> from diffusers import DDPMScheduler
    >>> state_limit(DDPMScheduler(), 3.0)
    3.0
    """
    if float(scheduler.init_noise_sigma) == 1 or scheduler.step_index is None:
        return limit
    return limit * float(1 + scheduler.sigmas[scheduler.step_index] ** 2) ** 0.5


def _configured(scheduler: Any, clip_sample: bool) -> Any:
    scheduler = copy.deepcopy(scheduler)
    if clip_sample and "clip_sample" not in scheduler.config:
        raise UserError(f"{type(scheduler).__name__} cannot clip its samples; use ddpm, ddim or heun")
    wanted = {"clip_sample": clip_sample, "thresholding": False}
    scheduler.register_to_config(**{key: value for key, value in wanted.items() if key in scheduler.config})
    return scheduler
