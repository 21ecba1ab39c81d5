"""The smallest Stable Diffusion pipeline: random weights, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = (
    "a",
    "an",
    "the",
    "of",
    "on",
    "and",
    "photo",
    "picture",
    "background",
    "red",
    "green",
    "blue",
    "yellow",
    "white",
    "black",
    "gray",
    "circle",
    "square",
    "triangle",
    "star",
    "cross",
    "ring",
    "two",
    "three",
)


def word_tokenizer(words: Sequence[str] = WORDS, max_length: int = 77, pad_token: str = END) -> CLIPTokenizer:
    """A CLIP tokenizer with all 256 bytes, so that any text has tokens, and one token for each of ``words``."""
    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(f"{symbol}</w>" for symbol in alphabet)]
    merges: dict[tuple[str, str], str] = {}
    for word in words:
        symbols = [*word[:-1], f"{word[-1]}</w>"]
        for position in range(1, len(symbols)):
            left, right = "".join(symbols[:position]), symbols[position]
            merges[left, right] = left + right
    tokens += [*dict.fromkeys(merges.values()), START, END]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=list(merges),
        pad_token=pad_token,
        model_max_length=max_length,
    )


def tiny_model(seed: int = 0) -> TextToImageModel:
    """A pipeline for 16x16 images with 8x8 latents and T = 20; equal seeds give equal weights."""
    tokenizer = word_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=77,
                projection_dim=16,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
        )
        vae = AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            sample_size=16,
            scaling_factor=0.5,
        )
    scheduler = DDIMScheduler(
        num_train_timesteps=20, beta_start=0.02, beta_end=0.5, clip_sample=False, set_alpha_to_one=False
    )
    model = TextToImageModel([tokenizer], [text_encoder], unet, vae, scheduler)
    for network in model.networks.values():
        network.eval().requires_grad_(False)
    return model
