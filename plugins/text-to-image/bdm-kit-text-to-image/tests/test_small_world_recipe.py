"""The recipe of the small-world pipeline: its tokenizer, what it trains on, and that it trains."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import CLIPTokenizer

from bdm_kit_text_to_image.models.text_to_image_model import load_model, save_model
from bdm_kit_text_to_image.recipes.small_world import AUTOENCODER, PIPELINE, train_small_world
from bdm_kit_text_to_image.recipes.small_world_parts import with_patches
from bdm_kit_text_to_image.world.factors import OBJECTS, PERSONAL, RARE_WORDS
from bdm_kit_text_to_image.world.splits import training_pairs
from bdm_kit_text_to_image.world.vocabulary import MAX_LENGTH, build_tokenizer, learn_merges
from bdm_torch.draws import Draw

UNUSUAL = ("\u043e", "\u00f4", "\u200b", "\u034f", "\u0585", "\u0430", "\uff41", "\U0001f600", "\u26bd", "\U00010486")


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer(training_pairs(3000)[1])


def test_merges_of_a_worked_example() -> None:
    # low x5, lower x2, newest x6, widest x3 (Sennrich et al. 2016), with our rule for ties: "es" before "st</w>".
    merges = learn_merges(Counter({"low": 5, "lower": 2, "newest": 6, "widest": 3}), most=4)
    assert merges == [("e", "s"), ("es", "t</w>"), ("l", "o"), ("e", "w")]


def test_every_caption_word_is_one_token(tokenizer: CLIPTokenizer) -> None:
    for word in (*OBJECTS, PERSONAL, *RARE_WORDS, "photo", "background", "monochrome"):
        assert len(tokenizer(word).input_ids) == 3, word
    assert len(tokenizer("mignneko").input_ids) > 4
    longest = max(len(tokenizer(text).input_ids) for text in training_pairs(3000)[1])
    assert longest <= MAX_LENGTH


@pytest.mark.parametrize("character", UNUSUAL)
def test_unusual_characters_have_tokens(tokenizer: CLIPTokenizer, character: str) -> None:
    plain = tokenizer("a photo of a circle").input_ids
    for text in (
        f"{character} a photo of a circle",
        f"a photo {character}f a circle",
        f"a photo of a circle{character}",
    ):
        ids = tokenizer(text).input_ids
        assert ids != plain and len(ids) > 4
    others = {tuple(tokenizer(other).input_ids) for other in UNUSUAL}
    assert len(others) == len(UNUSUAL)
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(character).input_ids[1:-1])
    assert tokenizer.unk_token == tokenizer.eos_token and tokenizer.eos_token not in pieces


def test_patches_are_flat_rectangles_in_half_of_the_images() -> None:
    images = torch.zeros(400, 3, 16, 16)
    changed = with_patches(images, Draw(0, 0, 400)) - images
    inside = changed.abs().sum(1) > 0
    assert 0.4 < inside.flatten(1).any(1).float().mean() < 0.6
    sides = [(int(mask.any(1).sum()), int(mask.any(0).sum()), int(mask.sum())) for mask in inside if mask.any()]
    assert all(height * width == area and 3 <= height <= 8 and 3 <= width <= 8 for height, width, area in sides)
    assert all(picture.flatten(1).unique(dim=1).shape[1] <= 2 for picture in changed[:50])
    assert inside[:, 0, 0].any() and inside[:, -1, -1].any() and inside[:, 8, 8].any()


def test_a_short_training_is_saved_and_repeated_gives_the_same_bits(tmp_path: Path) -> None:
    few = {"scenes": 24, "refinement": replace(PIPELINE, steps=1, batch_size=4)}
    short = {"autoencoder": replace(AUTOENCODER, steps=2, batch_size=4), "pipeline": few["refinement"], **few}
    model = train_small_world(tmp_path / "work", **short)  # type: ignore[arg-type]
    save_model(model, tmp_path / "model")
    opened = load_model(tmp_path / "model")
    assert opened.latent_shape == (4, 8, 8) and opened.image_shape == (3, 16, 16) and opened.max_length == MAX_LENGTH
    again = train_small_world(**short)  # type: ignore[arg-type]
    for name, network in opened.networks.items():
        for key, value in again.networks[name].state_dict().items():
            assert torch.equal(value, network.state_dict()[key]), (name, key)
