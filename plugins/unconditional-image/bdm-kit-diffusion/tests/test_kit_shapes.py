"""The built-in data set of coloured shapes: what is drawn, its splits, how it is chosen; its classifier, its recipe."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import draw_noise, sample
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.catalogue import SHAPES_MODEL
from bdm_kit_diffusion.data.built_in_data import load_builtin
from bdm_kit_diffusion.data.classifiers import CLASSIFIERS, SHAPES_CLASSIFIER
from bdm_kit_diffusion.data.opening import open_reference
from bdm_kit_diffusion.data.shapes import BACKGROUNDS, COLOURS, NAMES, OBJECTS, load_shapes
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.models.diffusion_model import open_reference as open_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_kit_diffusion.recipes.digits_quality import frechet_distance
from bdm_kit_diffusion.recipes.shapes_classifier import fit, untrained_classifier
from bdm_kit_diffusion.recipes.shapes_ddpm import OPTIONS, untrained_model
from bdm_torch.features import load_classifier
from bdm_torch.image_sets import load_images, load_rows
from bdm_torch.images import to_bytes
from bdm_torch.training import train

AREAS = {
    "disc": math.pi,
    "ring": 0.7 * math.pi,
    "square": 4 * 0.84**2,
    "frame": 4 * (0.88**2 - 0.5**2),
    "triangle": 1.8**2 / 1.8,  # base 2 (0.8 + 1) / 1.8 at the bottom, height 1.8
    "diamond": 2 * 1.1**2,
    "plus": 2 * (2 * 0.56) - 0.56**2,
}
"""Areas of the objects of radius 1, in closed form."""


def sealed_model(folder: Path, shape: list[int]) -> Model:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return Model.seal(folder, format="diffusers", task="unconditional-image-generation", meta={"shape": shape})


def test_drawn_bytes_never_change() -> None:
    digest = {
        split: hashlib.sha256(to_bytes(load_shapes(split).images).numpy().tobytes()).hexdigest()[:16]
        for split in ("train", "held-out")
    }
    assert digest == {"train": "de255fb60538cd2e", "held-out": "3944bc034decec37"}


def test_splits_differ_and_are_balanced() -> None:
    train, held_out = load_shapes(), load_shapes("held-out")
    assert train.images.shape == (2048, 3, 16, 16) and held_out.images.shape == (512, 3, 16, 16)
    seen = {image.numpy().tobytes() for image in to_bytes(train.images)}
    assert not seen & {image.numpy().tobytes() for image in to_bytes(held_out.images)}
    for found, kinds in ((train.labels, OBJECTS), (train.colours, COLOURS), (train.backgrounds, BACKGROUNDS)):
        counts = found.bincount(minlength=len(kinds))
        expected = 2048 / len(kinds)
        assert len(counts) == len(kinds) and bool(((counts - expected).abs() < 4 * expected**0.5).all())


@pytest.mark.parametrize("name", list(AREAS))
def test_objects_have_the_area_of_their_formula(name: str) -> None:
    grid = torch.linspace(-1.2, 1.2, 1201, dtype=torch.float64)
    x, y = grid[None].expand(1201, -1), grid[:, None].expand(-1, 1201)
    area = OBJECTS[name](x, y).double().mean().item() * (1201 * 0.002) ** 2
    assert area == pytest.approx(AREAS[name], rel=0.01)


def test_pictures_show_their_colour_where_the_object_is_and_the_background_in_the_corner() -> None:
    shapes = load_shapes()
    levels = to_bytes(shapes.images).int()
    night = shapes.backgrounds == BACKGROUNDS.index("night")
    corner = levels[night][:, :, 0, 0]
    assert (corner == torch.tensor([20, 24, 56])).all(1).float().mean() > 0.95
    paint = torch.tensor(list(COLOURS.values()))[shapes.colours]
    pixels = levels.flatten(2)
    near = ((pixels - paint[:, :, None]).abs().amax(1) <= 10).sum(1)
    solid = (shapes.labels == NAMES.index("disc")) | (shapes.labels == NAMES.index("square"))
    assert near[solid].min().item() >= 20  # pixels that the object covers wholly are within the jitter of its colour


def test_rows_say_what_is_shown() -> None:
    images, rows = load_builtin("shapes")
    labels = load_shapes().labels.tolist()
    assert len(rows) == len(images) and [row["label"] for row in rows] == labels
    assert all(row["object"] == NAMES[row["label"]] for row in rows)
    assert {row["colour"] for row in rows} == set(COLOURS)


def test_the_model_s_shape_chooses_the_data(tmp_path: Path) -> None:
    model = sealed_model(tmp_path / "model", [3, 16, 16])
    chosen = open_reference(None, model, tmp_path / "a", tmp_path, limit=40)
    named = open_reference("shapes", model, tmp_path / "b", tmp_path, limit=40)
    assert chosen.digest == named.digest
    assert torch.equal(load_images(chosen), load_shapes().images[:40])
    assert load_rows(chosen)[3]["object"] == load_shapes().rows()[3]["object"]
    with pytest.raises(UserError, match="the built-in digits are 1x8x8"):
        open_reference("digits", model, tmp_path / "c", tmp_path)
    grey = sealed_model(tmp_path / "grey", [1, 8, 8])
    with pytest.raises(UserError, match="the built-in shapes are 3x16x16"):
        open_reference("shapes", grey, tmp_path / "d", tmp_path)


def test_shipped_classifier_knows_pictures_it_was_not_trained_on() -> None:
    held_out = load_shapes("held-out")
    classifier = load_classifier(CLASSIFIERS[3, 16, 16])
    assert (classifier.logits(held_out.images).argmax(1) == held_out.labels).float().mean().item() >= 0.97


def test_training_of_the_classifier_is_reproducible_and_learns() -> None:
    shapes = load_shapes("held-out")
    one, other = untrained_classifier(), untrained_classifier()
    for classifier in (one, other):
        fit(classifier, shapes.images, shapes.labels, steps=60)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    assert (one.logits(shapes.images).argmax(1) == shapes.labels).float().mean().item() > 0.3
    assert SHAPES_CLASSIFIER.name == "shapes-classifier"


def test_the_recipe_s_model_takes_the_shapes_and_trains(tmp_path: Path) -> None:
    model = untrained_model()
    assert sum(parameter.numel() for parameter in model.unet.parameters()) == 745_427
    sealed = seal_model(model, tmp_path / "model")
    data = open_reference(None, sealed, tmp_path / "data", tmp_path, limit=8)
    assert load_rows(data)[0]["object"] in NAMES
    before = {name: value.clone() for name, value in model.unet.state_dict().items()}
    options = replace(OPTIONS, steps=2, batch_size=8)
    result = train(model.unet, denoising_loss(load_images(data), model.scheduler), options, seed=0)
    assert all(0.5 < loss < 2 for loss in result.losses)  # an untrained network explains none of the noise
    assert any(not torch.equal(value, before[name]) for name, value in model.unet.state_dict().items())


def test_the_shipped_model_is_the_recipe_s_and_paints_shapes(tmp_path: Path) -> None:
    shipped, fresh = load_model(BUILTIN / SHAPES_MODEL), untrained_model()
    weights = shipped.unet.state_dict()
    assert {key: value.shape for key, value in weights.items()} == {
        key: value.shape for key, value in fresh.unet.state_dict().items()
    }
    assert sum(value.numel() for value in weights.values()) < 1_200_000
    assert torch.equal(shipped.scheduler.betas, fresh.scheduler.betas)
    sealed = open_model(SHAPES_MODEL, tmp_path / "model", tmp_path)
    assert open_reference(None, sealed, tmp_path / "data", tmp_path).meta["shape"] == [3, 16, 16]
    start = draw_noise(48, shipped.shape, 0)
    images = sample(shipped.unet, build_scheduler("ddim", shipped.scheduler), start, steps=20).clamp(-1, 1)
    classifier, data = load_classifier(SHAPES_CLASSIFIER), load_shapes().images
    distances = [frechet_distance(classifier.features(some), classifier.features(data)) for some in (images, start)]
    assert distances[0] < distances[1] / 2
