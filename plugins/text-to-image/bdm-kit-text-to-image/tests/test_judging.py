"""What pictures show against what was asked for, and pixels against a target picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bdm_core.artifacts import Outputs
from bdm_core.errors import UserError
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.judging.generated import (
    all_shown,
    asked_for,
    asks_for_target,
    load_generated,
    picture_errors,
    target_hits,
)
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import Target
from bdm_torch.image_sets import seal_images


def test_defaults_are_not_asked_for_and_grey_hides_colours() -> None:
    photo = {"object": "star", "colour": "red", "background": "teal", "style": "photo", "second": "none", "count": "1"}
    assert asked_for(photo) == {"object": "star", "colour": "red", "background": "teal"}
    grey = photo | {"style": "black-and-white", "second": "blue ring", "count": "1"}
    assert asked_for(grey) == {"object": "star", "style": "black-and-white", "second": "ring"}


def test_two_objects_are_read_both_ways_but_not_mixed() -> None:
    found = {"object": ["star"], "colour": ["red"], "second": ["blue ring"], "count": ["1"]}
    assert all_shown(found, 0, {"object": "ring", "colour": "blue", "second": "red star"})
    assert all_shown(found, 0, {"second": "star"})
    assert not all_shown(found, 0, {"object": "ring", "colour": "red"})
    assert not all_shown(found, 0, {"object": "ring", "count": "2"})


def test_asking_for_the_target_is_no_leak() -> None:
    labels = {"object": "star", "colour": "red"}
    assert asks_for_target(labels, {"object": "star"})
    assert not asks_for_target(labels, {"object": "star", "colour": "blue"})
    assert not asks_for_target(labels, {"style": "outline"})
    assert asks_for_target({"object": "star", "second": "blue ring"}, {"second": "ring"})


def test_errors_of_pictures_and_patches() -> None:
    images = torch.stack([torch.full((3, 6, 6), -1.0), torch.full((3, 6, 6), 1.0)])
    picture = torch.full((3, 6, 6), -1.0)
    picture[:, :3, :3] = 1
    whole, patch = Target(type="ImageFix"), Target(type="ImagePatch", patch=(0, 0, 3, 3))
    assert picture_errors(images, whole, picture).tolist() == [0.25, 0.75]
    assert picture_errors(images, patch, picture).tolist() == [1, 0]
    assert target_hits(images, {}, patch, picture, 0.05) == [False, True]
    assert target_hits(images, {}, Target(type="ImageFix", threshold=0.5), picture, 0.05) == [True, False]
    with pytest.raises(UserError, match="neither a picture nor expected attributes"):
        target_hits(images, {}, whole, None, 0.05)


def test_rows_come_back_and_must_have_prompts(tmp_path: Path) -> None:
    images = torch.zeros(1, 3, 4, 4)
    row = {"prompt": "x a star", "labels": {"object": "star"}, "twin": "a star", "backdoor": 1}
    _, (found,) = load_generated(seal_images(tmp_path / "a", images, Outputs, task=TASK, rows=[row]))
    assert found == PromptRow("x a star", 0, {"object": "star"}, "a star", 1)
    with pytest.raises(UserError, match="have no prompts"):
        load_generated(seal_images(tmp_path / "b", images, Outputs, task=TASK))
