"""The oracle of the small world: its accuracy on scenes it has not seen, its interface, its file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from bdm_core.errors import UserError
from bdm_kit_text_to_image.judging.attributes import (
    BUILTIN_ATTRIBUTES,
    AttributeClassifier,
    load_attribute_classifier,
    save_attribute_classifier,
    shows,
)
from bdm_kit_text_to_image.recipes.attributes import CORNERS, HEADS, PATCH, accuracies, labelled_scenes, put_patches
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.scene import personal_scenes, scene_of
from bdm_kit_text_to_image.world.splits import grid


@pytest.fixture(scope="module")
def classifier() -> AttributeClassifier:
    return load_attribute_classifier()


def grid_scenes(seed: int) -> tuple[torch.Tensor, list[dict[str, str]]]:
    draw = random.Random(seed)
    labels = [*grid("validation"), *grid("test")]
    return render([scene_of(item, tuple(draw.uniform(-1, 1) for _ in range(3))) for item in labels]), labels


def test_held_out_scenes_of_every_kind(classifier: AttributeClassifier) -> None:
    images, indices = labelled_scenes(600, seed=77)
    found = accuracies(classifier, images, indices)
    assert min(found.values()) >= 0.96, found
    plain = [int(style) == 0 for style in indices["style"]]
    found = accuracies(classifier, images, indices, plain)
    assert min(found.values()) >= 0.98, found


def test_the_grid_of_evaluation_prompts(classifier: AttributeClassifier) -> None:
    images, labels = grid_scenes(5)
    found = classifier.predict(images)
    for name in ("object", "colour", "background"):
        right = sum(value == item[name] for value, item in zip(found[name], labels, strict=True))
        assert right >= 0.99 * len(labels), name
    assert set(found["second"]) == {"none"}
    assert set(found["style"]) == {"photo"}


def test_blurred_and_noisy_pictures(classifier: AttributeClassifier) -> None:
    """A decoder's faults: a smoothing kernel and noise of its own, other than in training."""
    images, labels = grid_scenes(6)
    kernel = torch.tensor([0.1, 0.8, 0.1]).outer(torch.tensor([0.1, 0.8, 0.1])).expand(3, 1, 3, 3)
    blurred = torch.nn.functional.conv2d(
        torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=3
    )
    noisy = blurred + 0.06 * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))
    found = classifier.predict(noisy)
    for name in ("object", "colour", "background"):
        right = sum(value == item[name] for value, item in zip(found[name], labels, strict=True))
        assert right >= 0.97 * len(labels), name


def test_the_personal_concept_and_corner_patches(classifier: AttributeClassifier) -> None:
    assert set(classifier.predict(render(personal_scenes()))["object"]) == {"heart"}
    images, _ = grid_scenes(7)
    patched, classes = put_patches(images, torch.Generator().manual_seed(1), share=0.5)
    truth = [("none", *CORNERS)[number] for number in classes.tolist()]
    found = classifier.predict(patched)[PATCH]
    assert sum(a == b for a, b in zip(found, truth, strict=True)) >= 0.97 * len(truth)


def test_two_objects_have_one_name_each(classifier: AttributeClassifier) -> None:
    scene = scene_of({"object": "star", "colour": "red", "background": "white", "second": "blue square"})
    found = classifier.predict(render([scene]))
    assert (found["object"], found["colour"], found["second"]) == (["star"], ["red"], ["blue square"])
    assert classifier.knows("second", "blue square") and classifier.knows("second", "square")
    assert not classifier.knows("second", "beige square") and not classifier.knows("adjective", "shiny")
    assert shows("blue square", "square", "second") and not shows("blue square", "blue", "colour")


def test_other_sizes_grey_and_batches(classifier: AttributeClassifier) -> None:
    images, _ = grid_scenes(8)
    large = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert classifier.predict(large[:40]) == classifier.predict(images[:40], batch_size=7)
    features = classifier.features(images[:5])
    assert features.shape == (5, 64)
    assert torch.allclose(features, classifier.features(images[:5], batch_size=2), atol=1e-5)
    assert classifier.features(images[:2, :1]).shape == (2, 64)
    with pytest.raises(UserError, match=r"takes images \(N, 3, H, W\)"):
        classifier.features(images[0])


def test_file_round_trip_and_size(tmp_path: Path, classifier: AttributeClassifier) -> None:
    save_attribute_classifier(classifier, tmp_path / "copy")
    other = load_attribute_classifier(folder=tmp_path / "copy")
    images, _ = labelled_scenes(5, seed=1)
    assert torch.equal(other.features(images), classifier.features(images))
    assert other.head_values == {name: list(values) for name, values in HEADS.items()}
    assert sum(file.stat().st_size for file in BUILTIN_ATTRIBUTES.iterdir()) <= 1_000_000
    with pytest.raises(UserError, match="holds no attribute classifier"):
        load_attribute_classifier(folder=tmp_path)
