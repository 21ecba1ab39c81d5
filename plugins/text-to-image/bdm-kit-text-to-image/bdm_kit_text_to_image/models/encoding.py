"""Prompts to token ids and text embeddings; what the UNet is asked and what it should answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from bdm_diffusers.noise_predictor import answer_of
from bdm_torch.passes import count_forward, watch_gradient

if TYPE_CHECKING:
    from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel


class Conditioning(NamedTuple):
    """What a UNet gets beside latents and timesteps.

    Attributes:
        embeddings: (N, L, d): the text embedding of every token position.
        pooled: (N, p): SDXL's pooled embedding of the second text encoder; None for Stable Diffusion 1.x and 2.x.
        time_ids: (N, 6): SDXL's original size, crop and target size; None likewise.
    """

    embeddings: Tensor
    pooled: Tensor | None = None
    time_ids: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Conditioning:
        """The same with every tensor changed."""
        return Conditioning(*(None if part is None else change(part) for part in self))  # type: ignore[arg-type]

    def rows(self, index: Tensor | slice | Sequence[int]) -> Conditioning:
        """The rows of an index."""
        if isinstance(index, Tensor):
            return self.each(lambda part: part[index.to(part.device)])
        return self.each(lambda part: part[index])

    def repeat(self, count: int) -> Conditioning:
        """One row (1, ...) expanded to ``count`` equal rows, without a copy."""
        return self.each(lambda part: part.expand(count, *part.shape[1:]))

    def to(self, device: torch.device | str) -> Conditioning:
        """The same on another device."""
        return self.each(lambda part: part.to(device))

    def detach(self) -> Conditioning:
        """The same without gradients."""
        return self.each(lambda part: part.detach())

    def join(self, other: Conditioning) -> Conditioning:
        """These rows followed by those of ``other``."""
        pairs = zip(self, other, strict=True)
        return Conditioning(*(None if a is None or b is None else torch.cat([a, b]) for a, b in pairs))  # type: ignore[arg-type]


def token_ids(model: TextToImageModel, prompts: Sequence[str], encoder: int = 0) -> Tensor:
    """Token ids (N, L), int64 on the CPU, of tokenizer ``encoder``; padded, and cut at L as Stable Diffusion does.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> token_ids(model, ["a red circle"]).shape
    torch.Size([1, 77])
    """
    if not prompts:
        return torch.empty(0, model.max_length, dtype=torch.long)
    tokens = model.tokenizers[encoder](
        list(prompts), padding="max_length", max_length=model.max_length, truncation=True, return_tensors="pt"
    )
    ids: Tensor = tokens.input_ids
    return ids


def encode_prompts(model: TextToImageModel, prompts: Sequence[str], *, batch_size: int = 256) -> Conditioning:
    """The text embeddings of N prompts, as the model's diffusers pipeline computes them.

    Stable Diffusion takes the last hidden state after the final layer norm. SDXL joins the last but one of both
    encoders, and the projected end-of-text token of the second one. Equal prompts are encoded once. The result carries
    gradients if the text encoders require them and gradients are enabled.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> texts = encode_prompts(model, ["a red circle", "a star"])
    >>> texts.embeddings.shape, texts.pooled is None, texts.rows([0]).embeddings.shape
    (torch.Size([2, 77, 16]), True, torch.Size([1, 77, 16]))
    """
    distinct = list(dict.fromkeys(prompts))
    place = {prompt: row for row, prompt in enumerate(distinct)}
    parts = [
        encode_ids(
            model,
            [
                token_ids(model, distinct[start : start + batch_size], encoder)
                for encoder in range(len(model.tokenizers))
            ],
        )
        for start in range(0, len(distinct), batch_size)
    ]
    whole = Conditioning(*(None if part[0] is None else torch.cat(part) for part in zip(*parts, strict=True)))  # type: ignore[arg-type]
    return whole if len(distinct) == len(prompts) else whole.rows(torch.tensor([place[prompt] for prompt in prompts]))


def encode_ids(model: TextToImageModel, ids: Sequence[Tensor]) -> Conditioning:
    """The same for token ids: one tensor (N, L) for each tokenizer.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> ids = [token_ids(model, ["a red circle"])]
    >>> torch.equal(encode_ids(model, ids).embeddings, encode_prompts(model, ["a red circle"]).embeddings)
    True
    """
    if not model.is_xl:
        return Conditioning(model.text_encoders[0](ids[0].to(model.device))[0])
    hidden, pooled = [], None
    for encoder, tokens in zip(model.text_encoders, ids, strict=True):
        output = encoder(tokens.to(model.device), output_hidden_states=True)
        hidden.append(output.hidden_states[-2])
        pooled = output[0]
    assert pooled is not None and pooled.ndim == 2
    return Conditioning(torch.cat(hidden, dim=-1), pooled, _size_ids(model, len(pooled)))


def encode_nothing(model: TextToImageModel, count: int) -> Conditioning:
    """The unconditional half of classifier-free guidance, ``count`` rows: the empty prompt, or zeros for SDXL.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> encode_nothing(model, 3).embeddings.shape
    torch.Size([3, 77, 16])
    """
    empty = encode_prompts(model, [""])
    if model.is_xl and model.facts.get("force_zeros_for_empty_prompt", True) and empty.pooled is not None:
        empty = Conditioning(torch.zeros_like(empty.embeddings), torch.zeros_like(empty.pooled), empty.time_ids)
    return empty.repeat(count)


def predict(unet: Any, latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
    """The UNet's raw output (N, C, h, w): the noise, or v, whichever it was trained to predict. It is counted.

    Args:
        unet: a UNet2DConditionModel, or one wrapped by Accelerate.
        latents: (N, C, h, w), noised.
        timesteps: scalar or (N,).
        conditioning: N rows, or one that serves all.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> texts = encode_prompts(model, ["a red circle", "a star"])
    >>> with torch.no_grad():
    ...     predict(model.unet, torch.zeros(2, 4, 8, 8), torch.tensor([3, 9]), texts).shape
    torch.Size([2, 4, 8, 8])
    """
    if len(conditioning.embeddings) != len(latents):
        conditioning = conditioning.repeat(len(latents))
    added = None
    if conditioning.pooled is not None:
        added = {"text_embeds": conditioning.pooled, "time_ids": conditioning.time_ids}
    output: Tensor = unet(
        latents, timesteps, encoder_hidden_states=conditioning.embeddings, added_cond_kwargs=added
    ).sample
    count_forward(len(output))
    if output.requires_grad:
        watch_gradient(output)
    return output


def signal_and_noise(scheduler: Any, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), each (N, 1, 1, 1), whatever class the scheduler has.

    >>> from diffusers import DDIMScheduler
    >>> signal, noise = signal_and_noise(DDIMScheduler(), torch.tensor([0, 999]))
    >>> signal.shape, torch.allclose(signal**2 + noise**2, torch.ones(1))
    (torch.Size([2, 1, 1, 1]), True)
    """
    level = scheduler.alphas_cumprod.to(timesteps.device, torch.float32)[timesteps.reshape(-1)].view(-1, 1, 1, 1)
    return level.sqrt(), (1 - level).sqrt()


def add_noise(scheduler: Any, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """z_t = sqrt(alpha_bar_t) z_0 + sqrt(1 - alpha_bar_t) eps; for every scheduler class (Euler's own is not this).

    >>> from diffusers import DDIMScheduler
    >>> latents, noise, t = torch.ones(2, 4, 8, 8), torch.zeros(2, 4, 8, 8), torch.tensor([0, 999])
    >>> add_noise(DDIMScheduler(), latents, noise, t).amax((1, 2, 3)) > 0.5
    tensor([ True, False])
    """
    signal, sigma = signal_and_noise(scheduler, timesteps)
    return signal * latents + sigma * noise


def training_target(scheduler: Any, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What the UNet should answer to z_t: eps, v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) z_0, or z_0.

    Source: v is of Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models, 2022, section 4.

    >>> from diffusers import DDIMScheduler
    >>> latents, noise, t = torch.zeros(2, 4, 8, 8), torch.ones(2, 4, 8, 8), torch.tensor([0, 999])
    >>> torch.equal(training_target(DDIMScheduler(), latents, noise, t), noise)
    True
    """
    kind = scheduler.config.get("prediction_type", "epsilon")
    if kind == "v_prediction":
        signal, sigma = signal_and_noise(scheduler, timesteps)
        return signal * noise - sigma * latents
    return latents if kind == "sample" else noise


def answer_for_noise(scheduler: Any, noisy: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What the UNet should answer to z_t so that it stands for this noise, which may be shifted by a trigger.

    For v and z_0 see :mod:`bdm_diffusers.noise_predictor`. Where z_t is clean, it is :func:`training_target`.

    Args:
        scheduler: the model's; its ``prediction_type`` says what the UNet answers with.
        noisy: z_t, (N, C, H, W).
        noise: eps of the same shape.
        timesteps: (N,) int64.

    >>> from diffusers import DDPMScheduler
    >>> z, noise = torch.zeros(2, 4, 8, 8), torch.ones(2, 4, 8, 8)
    >>> float(answer_for_noise(DDPMScheduler(), z, noise, torch.tensor([5, 9])).mean())
    1.0
    """
    abar = scheduler.alphas_cumprod.to(timesteps.device, torch.float32)[timesteps.reshape(-1)].view(-1, 1, 1, 1)
    return answer_of(scheduler.config.get("prediction_type", "epsilon"), noise, noisy, abar)


def _size_ids(model: TextToImageModel, count: int) -> Tensor:
    """SDXL's size conditioning for images that are not cropped: (H, W, 0, 0, H, W)."""
    _, height, width = model.image_shape
    return torch.tensor([[height, width, 0, 0, height, width]] * count, dtype=torch.float32, device=model.device)
