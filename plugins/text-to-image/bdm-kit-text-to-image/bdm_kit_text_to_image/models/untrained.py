"""Untrained pipelines laid out exactly as the released folders of Stable Diffusion 1.5, 2.1 and XL, at reduced width.

Block types, depths, head counts or head widths, activations, prediction type, text encoders, tokenizer files and
schedulers are those of the released configurations; only channels, pictures and vocabulary are small. For tests and
benchmarks: what opens these opens the real ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from bdm_kit_text_to_image.models.tiny import END, START, word_tokenizer

Release = Literal["sd-1.5", "sd-2.1", "sdxl"]
RELEASES: tuple[Release, ...] = ("sd-1.5", "sd-2.1", "sdxl")
WIDTH = 32
"""Channels of the first level, and d of each text encoder; the normalisation's 32 groups allow no less."""
_TRAINING = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
_CROSS, _PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
_UP_CROSS, _UP_PLAIN = "CrossAttnUpBlock2D", "UpBlock2D"
_FOUR_LEVELS = {
    "down_block_types": (_CROSS, _CROSS, _CROSS, _PLAIN),
    "up_block_types": (_UP_PLAIN, _UP_CROSS, _UP_CROSS, _UP_CROSS),
}
UNETS: dict[Release, dict[str, Any]] = {
    "sd-1.5": {**_FOUR_LEVELS, "attention_head_dim": 8},
    "sd-2.1": {
        **_FOUR_LEVELS,
        "attention_head_dim": (1, 2, 2, 2),
        "use_linear_projection": True,
        "upcast_attention": True,
        "dual_cross_attention": False,
    },
    "sdxl": {
        "down_block_types": (_PLAIN, _CROSS, _CROSS),
        "up_block_types": (_UP_CROSS, _UP_CROSS, _UP_PLAIN),
        "attention_head_dim": (1, 2, 2),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
    },
}
"""What the UNets' configurations set beside their widths. SD 1.5's attention_head_dim is a number of heads."""


def write_untrained(folder: Path, release: Release, *, width: int = WIDTH, seed: int = 0) -> Path:
    """Write a pipeline folder with random weights; equal arguments give equal weights.

    Args:
        folder: where to.
        release: whose configurations.
        width: a multiple of 32; the released widths are 320.
        seed: of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _unet(release, width).save_pretrained(folder / "unet")
        _vae(release).save_pretrained(folder / "vae")
        for number, encoder in enumerate(_text_encoders(release, width)):
            which = f"_{number + 1}" if number else ""
            encoder.save_pretrained(folder / f"text_encoder{which}")
            _write_tokenizer(folder / f"tokenizer{which}", "!" if release == "sd-2.1" or number else END)
    _scheduler(release).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(_index(release), indent=2) + "\n", encoding="utf-8")
    return folder


def _unet(release: Release, width: int) -> UNet2DConditionModel:
    levels = len(UNETS[release]["down_block_types"])
    options = dict(UNETS[release])
    if release == "sdxl":
        options["projection_class_embeddings_input_dim"] = width + 6 * options["addition_time_embed_dim"]
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(width, *(2 * width,) * (levels - 1)),
        layers_per_block=2,
        cross_attention_dim=2 * width if release == "sdxl" else width,
        act_fn="silu",
        norm_num_groups=32,
        norm_eps=1e-5,
        **options,
    )


def _vae(release: Release) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=32,
        sample_size=64,
        scaling_factor=0.13025 if release == "sdxl" else 0.18215,
        force_upcast=release == "sdxl",
    )


def _text_encoders(release: Release, width: int) -> list[Any]:
    """CLIP ViT-L of SD 1.5 and XL, OpenCLIP ViT-H without its last layer of SD 2.1, OpenCLIP ViT-bigG of XL."""
    vocabulary = len(word_tokenizer())

    def configuration(layers: int, activation: str, pad: int) -> CLIPTextConfig:
        return CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            hidden_act=activation,
            projection_dim=width,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=pad,
        )

    if release == "sd-2.1":
        return [CLIPTextModel(configuration(23, "gelu", 1))]
    encoders: list[Any] = [CLIPTextModel(configuration(12, "quick_gelu", 1))]
    if release == "sdxl":
        encoders.append(CLIPTextModelWithProjection(configuration(32, "gelu", 1)))
    return encoders


def _scheduler(release: Release) -> Any:
    if release == "sd-1.5":
        return PNDMScheduler(**_TRAINING, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1)
    if release == "sd-2.1":
        return DDIMScheduler(
            **_TRAINING, set_alpha_to_one=False, clip_sample=False, steps_offset=1, prediction_type="v_prediction"
        )
    return EulerDiscreteScheduler(**_TRAINING, timestep_spacing="leading", steps_offset=1)


def _write_tokenizer(folder: Path, pad: str) -> None:
    """The four files of a CLIPTokenizer as the releases have them: no tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    word_tokenizer().backend_tokenizer.model.save(str(folder))
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    settings = {
        **special,
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "do_lower_case": True,
        "add_prefix_space": False,
        "errors": "replace",
    }
    for name, content in (("special_tokens_map.json", special), ("tokenizer_config.json", settings)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _index(release: Release) -> dict[str, Any]:
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.6.0",
        "feature_extractor": [None, None],
        "scheduler": ["diffusers", type(_scheduler(release)).__name__],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    if release == "sdxl":
        return {
            **index,
            "_class_name": "StableDiffusionXLPipeline",
            "force_zeros_for_empty_prompt": True,
            "image_encoder": [None, None],
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"],
        }
    return {**index, "safety_checker": [None, None], "requires_safety_checker": False}
