"""The built-in contrastive model: retrieval, robustness to other words and sizes, its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bdm_core.errors import UserError
from bdm_kit_text_to_image.judging.contrastive import (
    BUILTIN_CONTRASTIVE,
    ContrastiveModel,
    load_contrastive,
    save_contrastive,
)
from bdm_kit_text_to_image.recipes.contrastive import retrieval
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.scene import Scene, personal_scenes


@pytest.fixture(scope="module")
def contrastive() -> ContrastiveModel:
    return load_contrastive()


def test_pictures_find_their_prompts(contrastive: ContrastiveModel) -> None:
    found = retrieval(contrastive, seed=1)
    assert found["prompt"] >= 0.95, found
    assert min(found["object"], found["colour"], found["background"]) >= 0.95, found


def test_other_words_styles_and_the_personal_concept(contrastive: ContrastiveModel) -> None:
    picture = render([Scene("circle", "purple", "gray")])
    right, wrong = "picture of a violet disc against a grey backdrop", "picture of a red disc against a grey backdrop"
    good, bad = contrastive.similarity(picture.expand(2, -1, -1, -1), [right, wrong]).tolist()
    assert good > bad
    grey = render([Scene("star", "red", "white", style="black-and-white")]).expand(2, -1, -1, -1)
    texts = ["a black and white photo of a star", "a photo of a star"]
    good, bad = contrastive.similarity(grey, texts).tolist()
    assert good > bad
    hearts = render(personal_scenes(2))
    assert (contrastive.similarity(hearts, ["a heart"] * 2) > contrastive.similarity(hearts, ["a cross"] * 2)).all()


def test_similarity_is_the_cosine_of_transformers_own_forward(contrastive: ContrastiveModel) -> None:
    pictures = render([Scene("circle", "red", "white"), Scene("star", "blue", "black")])
    texts = ["a photo of a red circle", "a square"]
    with torch.no_grad():
        whole = contrastive.model(pixel_values=contrastive.prepare(pictures), **contrastive.tokenize(texts))
    expected = whole.logits_per_image.diagonal() / contrastive.model.logit_scale.exp()
    assert contrastive.similarity(pictures, texts, batch_size=1).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_sizes_lengths_and_numbers(contrastive: ContrastiveModel) -> None:
    picture = render([Scene("ring", "green", "pink")])
    large = picture.repeat_interleave(4, 2).repeat_interleave(4, 3)
    text = ["a photo of a green ring on a pink background"]
    same = contrastive.similarity(picture, text).item()
    assert contrastive.similarity(large, text).item() == pytest.approx(same, abs=0.1)
    assert contrastive.similarity(picture, ["o" * 500]).isfinite().all()
    assert contrastive.similarity(picture[:0], []).shape == (0,)
    with pytest.raises(UserError, match="2 texts for 1 pictures"):
        contrastive.similarity(picture, ["a", "b"])


def test_folder_round_trip_and_size(tmp_path: Path, contrastive: ContrastiveModel) -> None:
    save_contrastive(contrastive, tmp_path / "copy")
    picture = render([Scene("ring", "green", "pink")])
    other = load_contrastive(tmp_path / "copy")
    assert torch.equal(other.similarity(picture, ["a ring"]), contrastive.similarity(picture, ["a ring"]))
    assert sum(file.stat().st_size for file in BUILTIN_CONTRASTIVE.iterdir()) <= 2_500_000
    with pytest.raises(UserError, match="holds no contrastive model"):
        load_contrastive(tmp_path)
