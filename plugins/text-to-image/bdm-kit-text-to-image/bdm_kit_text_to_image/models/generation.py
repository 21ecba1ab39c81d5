"""Images from prompts, each from noise of its own seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.errors import UserError
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import OnStep, SamplingOptions, draw_noise, require_finite_samples, sample
from bdm_kit_text_to_image.models.encoding import Conditioning, encode_nothing, encode_prompts, predict
from bdm_kit_text_to_image.models.latents import decode_latents
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

DEFAULT_SAMPLER = "ddim"
RANDOM_SAMPLERS = ("ddpm", "euler-ancestral")
"""The samplers that add noise at every step."""


@dataclass(frozen=True)
class Sampling:
    """How images are sampled.

    Attributes:
        steps: sampling steps.
        guidance: scale w of classifier-free guidance, eps_0 + w (eps_c - eps_0); 1 asks the UNet once a step.
        sampler: a name of ``bdm_diffusers.samplers.SAMPLERS``.
        eta: stochasticity of ddim, in [0, 1].
        batch_size: images sampled at once.

    >>> Sampling(steps=10).is_random, Sampling(sampler="ddpm").is_random
    (False, True)
    """

    steps: int = 20
    guidance: float = 3.0
    sampler: str = DEFAULT_SAMPLER
    eta: float = 0.0
    batch_size: int = 64

    @property
    def is_random(self) -> bool:
        """Whether the sampler adds noise on its way."""
        return self.eta > 0 or self.sampler in RANDOM_SAMPLERS


def generate_images(
    model: TextToImageModel,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int] | int,
    sampling: Sampling | None = None,
    shift: Tensor | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Run the pipeline on prompts; returns images (N, 3, H, W) in [-1, 1] on the CPU.

    Args:
        model: opened by :func:`bdm_kit_text_to_image.models.text_to_image_model.load_model`.
        prompts: N texts.
        seeds: one for each prompt, or a first one, from which they count upwards. A row depends on its own seed and
            prompt only, not on the other rows.
        sampling: sampler, steps, guidance; by default those of :class:`Sampling`.
        shift: (C, h, w), added to the initial latents of every row, or (N, C, h, w) of each; None for nothing.
        on_step: called as on_step(done, total) after each step.

    Raises:
        UserError: there are not as many seeds as prompts, the shift does not fit the model, or the sampler does not
            exist or take so many steps.
        ArtifactError: the samples are not finite.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> images = generate_images(model, ["a red circle", "a star"], seeds=0, sampling=Sampling(steps=2))
    >>> images.shape, -1 <= float(images.min()) and float(images.max()) <= 1
    (torch.Size([2, 3, 16, 16]), True)
    >>> generate_images(model, ["a red circle"], seeds=[0, 1])
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: 2 seeds for 1 prompts: give one for each, or a single one
    """
    how = sampling or Sampling()
    numbers = [seeds + row for row in range(len(prompts))] if isinstance(seeds, int) else list(seeds)
    if len(numbers) != len(prompts):
        raise UserError(f"{len(numbers)} seeds for {len(prompts)} prompts: give one for each, or a single one")
    if shift is not None and tuple(shift.shape) not in (model.latent_shape, (len(prompts), *model.latent_shape)):
        raise UserError(f"a shift of shape {tuple(shift.shape)} does not fit latents of {model.latent_shape}")
    scheduler = build_scheduler(how.sampler, model.scheduler)
    # With a sampler that adds noise on its way, a row's own seed decides that too: rows are then sampled one by one.
    size = 1 if how.is_random else how.batch_size
    batches = -(-len(prompts) // size) if prompts else 0
    images = []
    with torch.inference_mode():
        empty = encode_nothing(model, 1) if how.guidance != 1 else None
        for number, start in enumerate(range(0, len(prompts), size)):
            own = numbers[start : start + size]
            condition = encode_prompts(model, prompts[start : start + size])
            both = condition if empty is None else empty.repeat(len(own)).join(condition)

            def denoise(x: Tensor, t: Tensor, both: Conditioning = both) -> Tensor:
                if empty is None:
                    return predict(model.unet, x, t, both)
                without, given = predict(model.unet, torch.cat([x, x]), t, both).chunk(2)
                return without + how.guidance * (given - without)

            def report(done: int, total: int, number: int = number) -> None:
                if on_step is not None:
                    on_step(number * total + done, batches * total)

            noise = torch.cat([draw_noise(1, model.latent_shape, seed) for seed in own]).to(model.device)
            if shift is not None:
                noise = noise + (shift if shift.ndim == 3 else shift[start : start + size]).to(noise)
            latents = sample(
                denoise,
                scheduler,
                noise,
                steps=how.steps,
                seed=own[0],
                options=SamplingOptions(len(own), how.eta),
                on_step=report,
            )
            images.append(require_finite_samples(decode_latents(model, latents).float().cpu()))
    return torch.cat(images).clone() if images else torch.empty(0, *model.image_shape)
