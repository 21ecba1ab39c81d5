"""Recorded outputs, scaled modules and walked chains against the same by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from bdm_core.errors import UserError
from bdm_diffusers.sampling import draw_noise
from bdm_kit_text_to_image.attention.cross_attention import cross_attention_layers, record_attention
from bdm_kit_text_to_image.models.encoding import encode_nothing, encode_prompts, predict
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.latents import decode_latents
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.models.untrained import write_untrained
from bdm_kit_text_to_image.recording.chain import (
    ChainOptions,
    by_step,
    first_noise,
    map_level,
    mean_maps,
    prompt_lengths,
    walk,
)
from bdm_torch.recording import record_outputs, scale_modules

PROMPTS = ["a photo of a red circle", "two stars", "a ring"]


def test_outputs_are_those_of_hooks_by_hand_and_only_kept_calls_count() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten(), nn.Linear(12, 4))
    inputs = [torch.randn(4, 2, 2, 2) for _ in range(3)]
    with record_outputs(network, steps=lambda call: call != 1, rows=slice(2, None)) as recorder:
        for x in inputs:
            network(x)
    assert recorder.seen == 3 and len(recorder.calls) == 2
    for call, x in zip(recorder.calls, (inputs[0], inputs[2]), strict=True):
        torch.testing.assert_close(call["0"], network[0](x)[2:].mean((2, 3)))
        torch.testing.assert_close(call["2"], network(x)[2:])
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(UserError, match="nothing to record"), record_outputs(network, lambda name, module: False):
        pass


def test_scaled_cross_attention_is_what_its_projection_scaled_would_be() -> None:
    model, scaled = tiny_model(), tiny_model()
    for layer in cross_attention_layers(scaled.unet).values():
        layer.to_out[0].weight.mul_(1.5)
        layer.to_out[0].bias.mul_(1.5)
    texts, x, t = encode_prompts(model, PROMPTS), draw_noise(3, model.latent_shape, 0), torch.tensor(19)
    with torch.no_grad(), scale_modules(cross_attention_layers(model.unet), 1.5):
        found = predict(model.unet, x, t, texts)
    torch.testing.assert_close(found, predict(scaled.unet, x, t, texts))


def test_a_chain_starts_from_one_noise_and_ends_where_generation_does() -> None:
    model = tiny_model()
    parts = list(walk(model, PROMPTS, 5, ChainOptions(steps=4, guidance=2.0, scales=(1.0, 2.0), batch_size=2)))
    assert [(part.step, part.rows.start) for part in parts] == [(s, r) for r in (0, 2) for s in range(4)]
    noise = draw_noise(1, model.latent_shape, 5)
    texts = encode_prompts(model, PROMPTS)
    with torch.no_grad():
        first = predict(model.unet, noise.expand(3, -1, -1, -1), torch.tensor(19), texts)
        empty = predict(model.unet, noise, torch.tensor(19), encode_nothing(model, 1))
    steps = by_step(parts, lambda part: part.noise)
    torch.testing.assert_close(steps[0], first, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first_noise(model, PROMPTS, 5), first, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts[0].empty[:1], empty, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts[2].scaled[0], parts[2].noise, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(parts[2].scaled[1], parts[2].noise)
    # the last prediction belongs to the latents that generation would decode
    images = generate_images(model, PROMPTS, seeds=[5] * 3, sampling=Sampling(steps=4, guidance=2.0))
    from bdm_diffusers.samplers import build_scheduler

    scheduler = build_scheduler("ddim", model.scheduler)
    scheduler.set_timesteps(4)
    x = noise.expand(3, -1, -1, -1)
    guided = by_step(parts, lambda part: part.empty + 2.0 * (part.noise - part.empty))
    for step, t in enumerate(scheduler.timesteps):
        x = scheduler.step(guided[step], t, x).prev_sample
    torch.testing.assert_close(decode_latents(model, x), images, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(by_step(parts, lambda part: part.latents)[-1], x, rtol=1e-4, atol=1e-5)
    signal, sigma = (model.scheduler.alphas_cumprod[19] ** 0.5, (1 - model.scheduler.alphas_cumprod[19]) ** 0.5)
    believed = (noise - sigma * guided[0]) / signal
    torch.testing.assert_close(by_step(parts, lambda part: part.original)[0], believed, rtol=1e-3, atol=1e-3)


def test_a_chain_may_start_from_given_latents() -> None:
    model = tiny_model()
    start = draw_noise(3, model.latent_shape, 8)
    parts = list(walk(model, PROMPTS, 0, ChainOptions(steps=2, batch_size=2), start))
    alone = list(walk(model, PROMPTS[2:], 0, ChainOptions(steps=2), start[2:]))
    torch.testing.assert_close(parts[-1].latents, alone[-1].latents, rtol=1e-4, atol=1e-5)


def test_inputs_are_what_modules_get() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    x = torch.randn(4, 2)
    with record_outputs(network, inputs=True) as recorder:
        network(x)
    torch.testing.assert_close(recorder.calls[0]["0"], x)
    torch.testing.assert_close(recorder.calls[0]["2"], network[0](x).relu())


def test_maps_are_the_conditional_half_s_outside_of_the_middle() -> None:
    model = tiny_model()
    (part,) = walk(model, PROMPTS, 1, ChainOptions(steps=3, until=1, maps=True))
    noise = draw_noise(1, model.latent_shape, 1).expand(6, -1, -1, -1)
    both = encode_nothing(model, 3).join(encode_prompts(model, PROMPTS))
    with torch.no_grad(), record_attention(model.unet, [0]) as recorder:
        predict(model.unet, noise, torch.tensor(19), both)
    wanted = [maps[3:] for name, maps in recorder.steps[0].items() if not name.startswith("mid_block")]
    assert part.maps is not None and len(wanted) > 0
    torch.testing.assert_close(part.maps, torch.stack(wanted).mean(0), rtol=1e-4, atol=1e-5)
    chain = list(walk(model, PROMPTS, 1, ChainOptions(steps=3, maps=True, batch_size=2)))
    every = by_step(chain, lambda part: part.maps if part.maps is not None else torch.empty(0))
    torch.testing.assert_close(mean_maps(chain), every.mean(0))


def test_maps_of_a_released_layout_are_the_papers_and_lengths_count_both_ends(tmp_path: Path) -> None:
    """Of latents of 64x64 those of 16x16 in down block 2 and up block 1, the five layers that the papers average."""
    folder = write_untrained(tmp_path / "model", "sd-1.5")
    for name, side in (("unet", 64), ("vae", 512)):
        path = folder / name / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "sample_size": side}))
    model = load_model(folder)
    assert model.latent_shape == (4, 64, 64) and map_level(model) == 2
    with record_attention(model.unet) as recorder:
        (part,) = walk(model, PROMPTS[:1], 1, ChainOptions(steps=2, until=1, guidance=1.0, maps=True))
    published = [f"down_blocks.2.attentions.{layer}" for layer in (0, 1)]
    published += [f"up_blocks.1.attentions.{layer}" for layer in (0, 1, 2)]
    wanted = [recorder.steps[0][f"{name}.transformer_blocks.0.attn2"] for name in published]
    assert part.maps is not None and part.maps.shape == (1, 77, 16, 16)
    torch.testing.assert_close(part.maps, torch.stack(wanted).mean(0), rtol=1e-4, atol=1e-5)
    assert prompt_lengths(model, ["a ring", "a ring " * 100]).tolist()[1] == model.max_length
    ids = model.tokenizers[0](["a ring"]).input_ids[0]
    assert prompt_lengths(model, ["a ring"]).tolist() == [len(ids)]
