"""Sampling: rows depend on their own seed and prompt; guidance; the autoencoder's round trip."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bdm_core.errors import UserError
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.latents import decode_latents, encode_images, round_trip_error
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.models.tiny import tiny_model

PROMPTS = ["a photo of a red circle", "a star", "a blue square on white"]


@pytest.fixture(scope="module")
def model() -> TextToImageModel:
    return tiny_model()


@pytest.mark.parametrize(("sampler", "eta"), [("ddim", 0.0), ("ddim", 0.5), ("ddpm", 0.0), ("euler", 0.0)])
def test_rows_depend_on_their_own_seed_and_prompt(model: TextToImageModel, sampler: str, eta: float) -> None:
    how = Sampling(steps=2, sampler=sampler, eta=eta)
    together = generate_images(model, PROMPTS, seeds=[4, 9, 4], sampling=how)
    alone = generate_images(model, PROMPTS[1:2], seeds=9, sampling=how)
    parts = generate_images(model, PROMPTS, seeds=[4, 9, 4], sampling=replace(how, batch_size=2))
    assert torch.allclose(together[1:2], alone, atol=1e-5) and torch.allclose(together, parts, atol=1e-5)
    assert not torch.allclose(together[1:2], generate_images(model, PROMPTS[1:2], seeds=10, sampling=how), atol=1e-3)


def test_seeds_count_upwards_and_steps_are_reported(model: TextToImageModel) -> None:
    seen: list[tuple[int, int]] = []
    images = generate_images(
        model,
        PROMPTS,
        seeds=4,
        sampling=Sampling(2, batch_size=2),
        on_step=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert torch.equal(images, generate_images(model, PROMPTS, seeds=[4, 5, 6], sampling=Sampling(2, batch_size=2)))
    assert images.shape == (3, 3, 16, 16) and images.abs().max() <= 1
    assert generate_images(model, [], seeds=[]).shape == (0, 3, 16, 16)


def test_guidance_leads_from_the_empty_prompt_through_the_prompt(model: TextToImageModel) -> None:
    none, one, more = (
        generate_images(model, PROMPTS[:1], seeds=1, sampling=Sampling(1, guidance=scale)) for scale in (0.0, 1.0, 3.0)
    )
    assert torch.allclose(none, generate_images(model, [""], seeds=1, sampling=Sampling(1, guidance=1.0)), atol=1e-5)
    assert 0 < (one - none).abs().mean() < (more - none).abs().mean()


def test_wrong_numbers_of_seeds_and_samplers_are_refused(model: TextToImageModel) -> None:
    with pytest.raises(UserError, match="2 seeds for 3 prompts"):
        generate_images(model, PROMPTS, seeds=[1, 2])
    with pytest.raises(UserError, match="unknown sampler"):
        generate_images(model, PROMPTS, seeds=1, sampling=Sampling(sampler="dddim"))
    with pytest.raises(UserError, match="does not fit latents"):
        generate_images(model, PROMPTS, seeds=1, shift=torch.zeros(3, 8, 8))


def test_latents_are_scaled_means_of_the_posterior(model: TextToImageModel) -> None:
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = encode_images(model, images, batch_size=2)
    with torch.no_grad():
        wanted = model.vae.encode(images).latent_dist.mode() * 0.5
        back = model.vae.decode(wanted / 0.5).sample.clamp(-1, 1)
    assert torch.allclose(latents, wanted, atol=1e-5)
    assert torch.allclose(decode_latents(model, latents), back, atol=1e-5)
    mask = torch.zeros(16, 16)
    mask[:4, 2:6] = 1
    part = ((back - images) / 2).square()[:, :, :4, 2:6].mean()
    assert round_trip_error(model, images, mask) == pytest.approx(float(part), rel=1e-4)
