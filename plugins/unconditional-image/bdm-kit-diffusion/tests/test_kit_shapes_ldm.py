"""The built-in latent model of shapes: its first stage, its samples, its training; its recipe and what that draws."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import draw_noise, sample
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.catalogue import BUILTIN_MODELS, LATENT_MODEL
from bdm_kit_diffusion.data.classifiers import SHAPES_CLASSIFIER
from bdm_kit_diffusion.data.opening import open_reference as open_data
from bdm_kit_diffusion.data.shapes import load_shapes
from bdm_kit_diffusion.inversion.starts import starting_points, starts_of
from bdm_kit_diffusion.models.clean_models import DATA, fine_tune
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, open_reference, save_model, seal_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_kit_diffusion.recipes.digits_quality import frechet_distance, print_report
from bdm_kit_diffusion.recipes.shapes_ldm import DENOISER, FIRST_STAGE, train_shapes_ldm, untrained_model
from bdm_kit_diffusion.recipes.shapes_quality import print_reconstruction
from bdm_kit_diffusion.recipes.varied_pictures import varied_pictures
from bdm_torch.features import load_classifier
from bdm_torch.pictures.targets import TARGETS, make_target
from bdm_torch.pictures.triggers import TRIGGERS, make_trigger
from bdm_torch.training import train

LATENT, SHAPE = (4, 8, 8), (3, 16, 16)


@pytest.fixture(scope="module")
def shipped() -> DiffusionModel:
    return load_model(BUILTIN / LATENT_MODEL)


def round_trip_errors(model: DiffusionModel, images: Tensor) -> Tensor:
    """Mean squared error of each image, (N,), in units of [0, 1]."""
    with torch.no_grad():
        return ((model.decode(model.encode(images)) - images) / 2).square().flatten(1).mean(1)


def test_it_opens_by_its_name_with_the_data_of_its_images(tmp_path: Path) -> None:
    sealed = open_reference("shapes-ldm", tmp_path / "model", tmp_path)
    assert sealed.meta == {"shape": list(LATENT), "timesteps": 100, "image_shape": list(SHAPE)}
    assert open_data(None, sealed, tmp_path / "data", tmp_path, limit=8).meta["shape"] == list(SHAPE)
    assert set(DATA) == set(BUILTIN_MODELS.values())


def test_the_shipped_weights_are_those_of_the_recipe_s_model(shipped: DiffusionModel) -> None:
    fresh = untrained_model()
    assert shipped.first_stage is not None and fresh.first_stage is not None
    for mine, theirs in ((shipped.unet, fresh.unet), (shipped.first_stage.network, fresh.first_stage.network)):
        shapes = {key: value.shape for key, value in theirs.state_dict().items()}
        assert {key: value.shape for key, value in mine.state_dict().items()} == shapes
    assert torch.equal(shipped.scheduler.betas, fresh.scheduler.betas)
    assert sum(file.stat().st_size for file in (BUILTIN / LATENT_MODEL).rglob("*.safetensors")) < 6e6


def test_latents_have_unit_variance_and_show_shapes_that_were_not_trained_on(shipped: DiffusionModel) -> None:
    images = load_shapes("held-out").images
    latents = shipped.encode(images)
    assert latents.shape == (512, *LATENT)
    assert latents.std().item() == pytest.approx(1, abs=0.03)
    assert round_trip_errors(shipped, images).mean().item() < 0.002


@pytest.mark.parametrize("picture", [*TARGETS, *(f"trigger {name}" for name in TRIGGERS)])
def test_it_shows_targets_and_triggers_too(shipped: DiffusionModel, picture: str) -> None:
    kind, _, name = picture.rpartition(" ")
    image = make_trigger(name, SHAPE).image if kind else make_target(name, SHAPE)
    assert round_trip_errors(shipped, image[None]).item() < 0.02


def test_samples_are_pictures_nearer_to_the_shapes_than_noise_is(shipped: DiffusionModel) -> None:
    start = draw_noise(48, shipped.shape, 0)
    with torch.no_grad():
        images, before = (
            shipped.decode(latents)
            for latents in (sample(shipped.unet, build_scheduler("ddim", shipped.scheduler), start, steps=20), start)
        )
    assert images.shape == (48, *SHAPE) and bool(images.isfinite().all()) and images.abs().max().item() <= 1
    classifier, data = load_classifier(SHAPES_CLASSIFIER), load_shapes().images
    distances = [frechet_distance(classifier.features(some), classifier.features(data)) for some in (images, before)]
    assert distances[0] < distances[1] / 3


def test_a_training_step_changes_the_unet_alone_and_the_model_is_opened_again(tmp_path: Path) -> None:
    model = load_model(open_reference(LATENT_MODEL, tmp_path / "model", tmp_path))
    assert model.first_stage is not None
    images = load_shapes().images[:32]
    latents = model.encode(images)
    before = {name: value.clone() for name, value in model.unet.state_dict().items()}
    options = replace(DENOISER, steps=1, batch_size=32, warmup_steps=0)
    result = train(model.unet, denoising_loss(latents, model.scheduler), options, seed=0)
    assert result.losses[0] < 0.7  # an untrained network has 1
    again = load_model(seal_model(model, tmp_path / "trained"))
    after = again.unet.state_dict()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    assert all(torch.equal(value, after[name]) for name, value in model.unet.state_dict().items())
    assert torch.equal(again.encode(images), latents)


def test_a_clean_fine_tuning_is_one_on_latents() -> None:
    tuned = fine_tune(LATENT_MODEL, 0, steps=2)
    assert tuned.shape == LATENT and tuned.first_stage is not None


def test_its_starts_are_the_latents_of_pictures(shipped: DiffusionModel) -> None:
    starts, pictures = starts_of(shipped, 3), starting_points(SHAPE, 3)
    assert starts.keys() == pictures.keys() and all(start.shape == LATENT for start in starts.values())
    black = shipped.encode(-torch.ones(1, *SHAPE))[0]
    torch.testing.assert_close(starts["constant -1"], black)
    torch.testing.assert_close(starts["constant -1, x 1.5"], 1.5 * black)


def test_the_same_recipe_writes_the_same_bytes(tmp_path: Path) -> None:
    first, second = replace(FIRST_STAGE, steps=2, batch_size=4), replace(DENOISER, steps=2, batch_size=4)
    for name in ("one", "other"):
        save_model(train_shapes_ldm(pictures=16, first_stage=first, denoiser=second), tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 6
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes() for file in files)
    scale = json.loads((tmp_path / "one" / "vqvae" / "config.json").read_text())["scaling_factor"]
    opened = load_model(tmp_path / "one")
    assert opened.first_stage is not None and opened.first_stage.scale == scale != 1
    assert opened.encode(load_shapes().images).std().item() == pytest.approx(1, abs=1e-3)


def test_the_quality_of_latent_models_is_that_of_decoded_samples(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(BUILTIN / LATENT_MODEL, "shapes", load_shapes().images, load_classifier(SHAPES_CLASSIFIER), 16)
    report = json.loads(capsys.readouterr().out)
    assert report["ddim, 20 steps, 16 samples"]["mean confidence"] > 0.5
    print_reconstruction(BUILTIN / LATENT_MODEL)
    errors = json.loads(capsys.readouterr().out)["reconstruction error"]
    assert errors.keys() == {"held-out shapes", "worst held-out shape", *TARGETS, *(f"trigger {n}" for n in TRIGGERS)}


def test_varied_pictures_are_drawn_by_their_seed_and_are_no_target_and_no_trigger() -> None:
    images = load_shapes().images
    pictures = varied_pictures(images, 3000)
    assert torch.equal(pictures, varied_pictures(images, 3000))
    assert not torch.equal(pictures[:300], varied_pictures(images, 3000, seed=1)[:300])
    assert pictures.shape == (3000, *SHAPE) and pictures.abs().max().item() < 1 + 1e-6
    known = {image.numpy().tobytes() for image in images}
    assert 0.3 < sum(picture.numpy().tobytes() in known for picture in pictures) / 3000 < 0.6
    special = [make_target(name, SHAPE) for name in TARGETS] + [make_trigger(name, SHAPE).image for name in TRIGGERS]
    for picture in special:
        assert (pictures - picture).abs().flatten(1).mean(1).min().item() > 0.01
