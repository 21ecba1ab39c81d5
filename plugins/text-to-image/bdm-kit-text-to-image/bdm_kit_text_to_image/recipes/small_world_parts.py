"""The untrained parts of the small-world pipeline, and what they are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from bdm_kit_text_to_image.models.encoding import add_noise, token_ids, training_target
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.world.factors import IMAGE_SIZE
from bdm_kit_text_to_image.world.grammar import captions
from bdm_kit_text_to_image.world.scene import Scene
from bdm_kit_text_to_image.world.vocabulary import MAX_LENGTH, build_tokenizer
from bdm_torch.draws import Draw
from bdm_torch.training import Loss

WIDTH = 128
"""Width of the text encoder. With 64 the embeddings span too few directions for closed-form edits of one concept."""
EMPTY_SHARE = 0.1
"""Share of the captions that are left out, for classifier-free guidance."""
PATCHED_SHARE = 0.5
KL_WEIGHT = 1e-6


def untrained_model(texts: list[str], seed: int = 0) -> TextToImageModel:
    """The pipeline for 16x16 images with random weights; the tokenizer has the words of ``texts``.

    Text encoder: width 128, 2 layers, 4 heads, 32 positions. VAE: widths 16, 32; latents 4x8x8. UNet: widths 32, 64
    with cross-attention at 8x8 and 4x4. T = 1000.
    """
    tokenizer = build_tokenizer(texts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=MAX_LENGTH,
                projection_dim=WIDTH,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        unet = UNet2DConditionModel(
            sample_size=IMAGE_SIZE // 2,
            in_channels=4,
            out_channels=4,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2,
            cross_attention_dim=WIDTH,
            attention_head_dim=2,
            norm_num_groups=8,
        )
        vae = AutoencoderKL(
            block_out_channels=(16, 32),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=8,
            sample_size=IMAGE_SIZE,
        )
    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return TextToImageModel([tokenizer], [text_encoder], unet, vae, scheduler)


def with_patches(images: Tensor, draw: Draw) -> Tensor:
    """Half of the images (b,3,H,W) get a flat rectangle, 3 to 8 pixels a side, in a corner or anywhere.

    Without these an autoencoder of shapes cannot represent a patch, and no attack could put one there.
    """
    rows, height, width = len(images), *images.shape[2:]
    numbers = draw.uniform(10)
    sides = (3 + 6 * numbers[:, :2]).floor()
    free = torch.tensor([height, width]) - sides
    corner = (numbers[:, 2:4] < 0.5) * free
    start = torch.where(numbers[:, 4:5] < 0.6, corner, (numbers[:, 5:7] * (free + 1)).floor())
    colours = numbers[:, 7:10] * 2 - 1
    colours = torch.where(draw.uniform(1) < 0.5, colours.sign(), colours)
    y, x = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    top, left = (start[:, i].view(-1, 1, 1) for i in (0, 1))
    inside = (y >= top) & (y < top + sides[:, :1, None]) & (x >= left) & (x < left + sides[:, 1:, None])
    inside &= draw.uniform(1, 1) < PATCHED_SHARE
    return torch.where(inside[:, None], colours.view(rows, 3, 1, 1), images)


class Autoencoder(nn.Module):
    """A VAE whose forward is a training pass."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(reconstruction, posterior mean, posterior log-variance)."""
        posterior = self.vae.encode(images).latent_dist
        decoded: Tensor = self.vae.decode(posterior.mean + posterior.std * noise).sample
        return decoded, posterior.mean, posterior.logvar


def autoencoder_loss(images: Tensor) -> Loss:
    """Squared plus absolute error, and a little KL divergence from the standard normal."""

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        seen = with_patches(images[draw.rows(len(images))], draw)
        decoded, mean, log_variance = model(seen, draw.normal(4, IMAGE_SIZE // 2, IMAGE_SIZE // 2))
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum((1, 2, 3)).mean()
        error = (decoded - seen).square().mean() + 0.5 * (decoded - seen).abs().mean()
        return error + KL_WEIGHT * divergence

    return loss


class Denoiser(nn.Module):
    """Text encoder and UNet as one network, trained together."""

    def __init__(self, text_encoder: Any, unet: Any) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet

    def forward(self, latents: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """The UNet's output (b,4,8,8) for noised latents and the captions' token ids (b,L)."""
        output: Tensor = self.unet(latents, timesteps, encoder_hidden_states=self.text_encoder(ids)[0]).sample
        return output


@dataclass(frozen=True)
class Captioned:
    """Latents (N,4,8,8) and, for each, the token ids of several captions (N,K,L); those of the empty one (L,)."""

    latents: Tensor
    ids: Tensor
    empty: Tensor


def captioned(model: TextToImageModel, scenes: list[Scene], latents: Tensor, ways: int, seed: int) -> Captioned:
    """``ways`` captions for each scene, tokenised."""
    ids = [token_ids(model, captions(scenes, seed + 7919 * way)) for way in range(ways)]
    return Captioned(latents, torch.stack(ids, dim=1), token_ids(model, [""])[0])


def joint_loss(data: Captioned, scheduler: Any, most_weight: float = 1.0) -> Loss:
    """The mean squared error of the predicted noise, one caption in ten left out.

    Args:
        data: latents and captions.
        scheduler: the noise schedule.
        most_weight: the error is weighted with min(1 / abar_t, most_weight), divided by the mean. 1 weights all
            timesteps the same; 1 / abar_t makes it the squared error of v, which is big where there is much noise:
            there the text decides how many objects appear and where.
    """
    weights = (1 / scheduler.alphas_cumprod.float()).clamp(max=most_weight)
    weights = weights / weights.mean()

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(data.latents))
        latents, noise = data.latents[rows], draw.normal(*data.latents.shape[1:])
        timesteps = draw.timesteps(scheduler.config.num_train_timesteps)
        way, empty = draw.uniform(2).unbind(1)
        ids = data.ids[rows, (way * data.ids.shape[1]).long()]
        ids = torch.where((empty < EMPTY_SHARE)[:, None], data.empty, ids)
        predicted = model(add_noise(scheduler, latents, noise, timesteps), timesteps, ids)
        error = (predicted - training_target(scheduler, latents, noise, timesteps)).square().mean((1, 2, 3))
        return (weights[timesteps] * error).mean()

    return loss
