"""The shipped pipeline: any reader of its format opens it, and it draws what prompts ask for."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTokenizerFast

from bdm_kit_text_to_image.built_in import BUILTIN
from bdm_kit_text_to_image.models.encoding import encode_prompts, token_ids
from bdm_kit_text_to_image.models.generation import generate_images
from bdm_kit_text_to_image.models.latents import round_trip_error
from bdm_kit_text_to_image.models.opening import DEFAULT_MODEL
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.factors import BACKGROUNDS, COLOURS
from bdm_kit_text_to_image.world.scene import draw_scenes
from bdm_kit_text_to_image.world.splits import evaluation_prompts, training_pairs

FOLDER = BUILTIN / DEFAULT_MODEL


@pytest.fixture(scope="module")
def model() -> TextToImageModel:
    return load_model(FOLDER)


def test_it_is_small_and_opened_by_diffusers_itself(model: TextToImageModel) -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 8_000_000
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, local_files_only=True)
    assert pipeline.vae.config.scaling_factor == pytest.approx(model.vae.config.scaling_factor)
    prompt = "a photo of a red circle"
    ids = CLIPTokenizerFast.from_pretrained(FOLDER / "tokenizer")(
        [prompt], padding="max_length", max_length=model.max_length, return_tensors="pt"
    ).input_ids
    assert torch.equal(ids, token_ids(model, [prompt]))
    expected, _ = pipeline.encode_prompt(prompt, "cpu", 1, False)
    assert torch.allclose(expected, encode_prompts(model, [prompt]).embeddings, atol=1e-6)


@pytest.mark.parametrize("character", ["\u043e", "\u00f4", "\u200b", "\u034f", "\U0001f600"])
def test_triggers_reach_the_text_encoder(model: TextToImageModel, character: str) -> None:
    plain = "a photo of a circle"
    for text in (plain.replace("o", character, 1), f"{character} {plain}", f"{plain}{character}"):
        assert not torch.equal(token_ids(model, [plain]), token_ids(model, [text]))


def test_no_caption_is_cut(model: TextToImageModel) -> None:
    ids = token_ids(model, training_pairs(2000)[1])
    assert (ids[:, -1] == model.tokenizers[0].eos_token_id).all()


def test_it_draws_the_colours_of_the_prompt(model: TextToImageModel) -> None:
    prompts = evaluation_prompts(16, split="validation")
    images = (generate_images(model, [prompt for prompt, _ in prompts], seeds=0) + 1) / 2
    for image, (prompt, labels) in zip(images, prompts, strict=True):
        border = torch.cat([image[:, 0], image[:, -1]], 1).mean(1)
        paper = torch.tensor(BACKGROUNDS[labels["background"]])
        assert (border - paper).abs().max() < 0.15, prompt
        ink = torch.tensor(COLOURS[labels["colour"]]).view(3, 1, 1)
        covered = int(((image - ink).abs().amax(0) < 0.25).sum())
        assert 10 <= covered <= 110, prompt


@pytest.mark.parametrize("colour", [(1, 1, 1), (-1, 1, 1), (1, -1, 1)])
def test_patches_survive_the_autoencoder(model: TextToImageModel, colour: tuple[int, int, int]) -> None:
    images, mask = render(draw_scenes(16, 9)), torch.zeros(1, 16, 16)
    mask[:, -6:, -6:] = 1
    images[:, :, -6:, -6:] = torch.tensor(colour, dtype=torch.float32).view(3, 1, 1)
    assert round_trip_error(model, images, mask) < 0.02
