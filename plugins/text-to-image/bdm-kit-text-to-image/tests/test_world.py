"""The small world: images show what the labels say, captions say it too, splits do not overlap."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from bdm_kit_text_to_image.world.drawing import grey, render
from bdm_kit_text_to_image.world.factors import (
    ADJECTIVES,
    BACKGROUNDS,
    COLOURS,
    OBJECTS,
    PERSONAL,
    RARE_WORDS,
    SIZES,
    SYNONYMS,
)
from bdm_kit_text_to_image.world.grammar import caption, plain_prompt
from bdm_kit_text_to_image.world.scene import Scene, draw_scenes, personal_scenes, scene_of
from bdm_kit_text_to_image.world.splits import evaluation_prompts, grid, training_pairs

TRIGGER_WORDS = (*RARE_WORDS, "mignneko", "anonymous", "latte", "coffee", "[v]", "tq", "spying", PERSONAL)


def test_pixels_have_the_colours_of_the_labels() -> None:
    for name in OBJECTS:
        for colour, background in zip(COLOURS, BACKGROUNDS, strict=False):
            pixels = (render([Scene(name, colour, background)])[0].numpy() + 1) / 2
            assert pixels.shape == (3, 16, 16)
            assert np.abs(pixels[:, 0, 0] - np.array(BACKGROUNDS[background])).max() < 0.01
            distance = np.abs(pixels - np.array(COLOURS[colour])[:, None, None]).max(0)
            assert (distance < 0.02).sum() >= 8, (name, colour)


def test_objects_differ_and_cover_similar_areas() -> None:
    images = render([Scene(name, "blue", "white") for name in (*OBJECTS, PERSONAL)])
    covered = (images[:, 0] < 0).float().sum((1, 2))
    assert covered.min() >= 24 and covered.max() <= 70
    apart = torch.cdist(images.flatten(1), images.flatten(1)) + 99 * torch.eye(len(images))
    assert apart.min() > 4


def test_every_adjective_and_style_changes_the_image() -> None:
    plain = render([Scene("star", "orange", "gray")])
    for word in ADJECTIVES + SIZES:
        assert (render([Scene("star", "orange", "gray", adjective=word)]) - plain).abs().max() > 0.2, word
    grays = render([Scene("star", "orange", "gray", style="black-and-white")])
    assert torch.allclose(grays[:, 0], grays[:, 2]) and torch.allclose(grays, grey(plain))
    assert (render([Scene("star", "orange", "gray", style="outline")]) - plain).abs().max() > 0.4
    assert (render([Scene("star", "orange", "gray", style="blur")]) - plain).abs().max() > 0.2


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_objects_are_visible_without_colour(background: str) -> None:
    for colour in COLOURS:
        image = render([Scene("square", colour, background, style="black-and-white")])[0, 0]
        assert abs(float(image[8, 8] - image[0, 0])) > 0.2, colour


def test_corners_are_free_and_jitter_moves() -> None:
    scenes = [s for s in draw_scenes(400, 3) if s.style != "blur"]
    images = render(scenes)
    corner = images[:, :, :2, :2].flatten(2)
    assert (corner.amax(2) - corner.amin(2)).abs().max() < 0.02
    assert torch.equal(render(scenes[:5]), images[:5])


def test_counts_and_second_objects_are_drawn() -> None:
    image = (render([Scene("square", "red", "black", count=3)])[0, 0] > 0)[8]
    runs = int((image[1:] & ~image[:-1]).sum()) + int(image[0])
    assert runs == 3
    left, right = render([Scene("circle", "red", "white", second=("blue", "star"), relation="left of")])[0].chunk(2, 2)
    assert (left[0] - left[2]).max() > 1 and (right[2] - right[0]).max() > 1


def test_captions() -> None:
    scenes, texts = training_pairs(4000)
    assert all("o" in text and "a" in text for text in texts)
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) <= 4 and 16 <= max(lengths) <= 26
    assert np.quantile(lengths, 0.97) <= 18
    assert len(set(texts)) > 3000
    words = {word.strip(".,") for text in texts for word in text.split()}
    assert not words & set(TRIGGER_WORDS)
    assert {*OBJECTS, *COLOURS, *BACKGROUNDS, *ADJECTIVES, *SIZES} <= words
    assert {other for others in SYNONYMS.values() for other in others} <= words
    dropped = [text for scene, text in zip(scenes, texts, strict=True) if scene.colour not in text.split()]
    assert 0.1 < len(dropped) / len(texts) < 0.4
    assert training_pairs(20)[1] == training_pairs(20)[1] != training_pairs(20, seed=1)[1]


def test_style_is_said_everywhere() -> None:
    scene = Scene("ring", "green", "teal", style="black-and-white")
    generator = random.Random(0)
    texts = [caption(scene, generator) for _ in range(400)]
    assert all("black and white" in text or "monochrome" in text for text in texts)
    at = [text.replace("monochrome", "black and white").find("black and white") / len(text) for text in texts]
    counts = np.histogram(at, bins=3, range=(0, 1))[0]
    assert counts.min() > 40


def test_plain_prompts_and_labels() -> None:
    scene = Scene("square", "orange", "teal", "outline", "shiny", 1, ("red", "cross"), "and")
    assert scene_of(scene.labels()) == scene
    assert plain_prompt({"object": "circle", "colour": "red", "background": "white"}) == (
        "a photo of a red circle on a white background"
    )
    assert plain_prompt(scene.labels()) == (
        "an outline drawing of a shiny orange square and a red cross on a teal background"
    )
    assert plain_prompt({"object": "cross", "count": "2"}) == "a photo of two crosses"


def test_splits() -> None:
    test, validation = evaluation_prompts(105), evaluation_prompts(105, split="validation")
    assert len({prompt for prompt, _ in test + validation}) == 210
    assert evaluation_prompts(100) == test[:100] != evaluation_prompts(100, seed=1)
    assert len(evaluation_prompts(250)) == 250
    for key, values in (("object", OBJECTS), ("colour", COLOURS), ("background", BACKGROUNDS)):
        counts = [sum(cell[key] == value for cell in grid("test")) for value in values]
        assert max(counts) - min(counts) <= 3


def test_personal_concept_is_fixed_and_held_out() -> None:
    scenes = personal_scenes(6)
    assert {scene.object for scene in scenes} == {PERSONAL}
    assert len({scene.jitter for scene in scenes}) == 6
    assert all(scene.object != PERSONAL for scene in draw_scenes(2000, 5))
