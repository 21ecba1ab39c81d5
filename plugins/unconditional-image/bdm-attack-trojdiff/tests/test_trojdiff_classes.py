"""In-D2D and Out-D2D: conformance, the targets that are trained, and oracles whose samples are the class."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from bdm_attack_trojdiff.attack import aim_of, poison
from bdm_attack_trojdiff.params import TrojDiffParams
from bdm_attack_trojdiff.plugin import TrojDiff
from bdm_attack_trojdiff.trojan_sampling import TrojanNoise, trojan_sample
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.run.specification import build_params
from bdm_core.testing import AttackConformance
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import SamplingOptions, draw_noise
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.data.classifiers import BUILTIN_CLASSIFIER
from bdm_kit_diffusion.poison.poisoning import open_poisoned
from bdm_kit_diffusion.poison.target_classes import foreign_class
from bdm_torch.features import load_classifier
from bdm_torch.image_sets import seal_images

GREY, COLOUR = (1, 8, 8), (3, 16, 16)
FAST = {"steps": 4, "batch_size": 8, "poison_rate": 0.25}
BASE = DDPMScheduler(num_train_timesteps=40, beta_start=0.002, beta_end=0.3, clip_sample=False)


class TestTrojdiffInD2D(AttackConformance):
    plugin = "trojdiff"
    params = {**FAST, "mode": "in-d2d", "target_class": "3", "trigger_type": "patch"}


class TestTrojdiffOutD2D(AttackConformance):
    plugin = "trojdiff"
    params = {**FAST, "mode": "out-d2d", "target_class": "ring", "variant": "agnostic"}


def digits(folder: Path, count: int = 300) -> Data:
    images, labels = load_digits()
    return seal_images(
        folder, images[:count], Data, task=TASK, rows=[{"label": int(label)} for label in labels[:count]]
    )


def poisoned_by(root: Path, **params: object) -> tuple[Tensor, Tensor]:
    """(what is trained in poisoned rows, their shifts)."""
    ctx = Context(out=root / "out", work=root / "work", seed=5)
    found = open_poisoned(poison(ctx, TrojDiffParams(**params), digits(root / "clean")))  # type: ignore[arg-type]
    inner, shift = found.batch(found.poisoned.nonzero().flatten())
    return inner, shift


def in_set(images: Tensor, allowed: Tensor) -> bool:
    known = {image.numpy().tobytes() for image in allowed}
    return all(image.numpy().tobytes() in known for image in images)


def test_in_d2d_trains_pictures_of_the_class(tmp_path: Path) -> None:
    images, labels = load_digits()
    inner, shift = poisoned_by(tmp_path, mode="in-d2d", target_class="7", gamma=0.3, poison_rate=0.2)
    assert len(inner) == 60 and in_set(inner, images[:300][labels[:300] == 7])
    assert len({image.numpy().tobytes() for image in inner}) > 20  # a distribution, not one picture
    torch.testing.assert_close(shift.abs(), torch.full_like(shift, 0.7))


def test_out_d2d_trains_pictures_of_the_other_set(tmp_path: Path) -> None:
    inner, shift = poisoned_by(tmp_path, mode="out-d2d", target_class="ring", trigger_type="patch")
    assert in_set(inner, foreign_class("shapes", 1, GREY))
    assert not shift[:, :, :-5].any() and bool((shift[:, :, -5:, -5:] == 0.9).all())


def test_the_class_and_its_classifier_follow_from_mode_and_shape() -> None:
    assert aim_of(TrojDiffParams(), GREY) is None
    found = {
        (mode, shape): aim_of(TrojDiffParams(mode=mode), shape)  # type: ignore[arg-type]
        for mode in ("in-d2d", "out-d2d")
        for shape in (GREY, COLOUR)
    }
    known = {key: (aim.known_as.data, aim.known_as.name, aim.known_as.classifier) for key, aim in found.items() if aim}
    assert known == {
        ("in-d2d", GREY): ("digits", "7", "digits-classifier"),
        ("in-d2d", COLOUR): ("shapes", "cross", "shapes-classifier"),
        ("out-d2d", GREY): ("shapes", "cross", "digits-and-shapes-grey"),
        ("out-d2d", COLOUR): ("digits", "7", "digits-and-shapes-colour"),
    }
    numbered = build_params(TrojDiff(), {"mode": "in-d2d", "target_class": 3})  # as `--set` reads a number
    assert isinstance(numbered, TrojDiffParams) and numbered.target_class == "3"
    with pytest.raises(UserError, match="no class 'ring': digits has"):
        aim_of(TrojDiffParams(mode="in-d2d", target_class="ring"), GREY)


@pytest.mark.parametrize(("name", "steps"), [("ddpm", 40), ("ddim", 20)])
def test_an_oracle_of_the_class_samples_the_class(tmp_path: Path, name: str, steps: int) -> None:
    """The exact predictor for x_t = a y + s (gamma eps + mu), y any of a class's pictures, gives pictures of it."""
    images, labels = load_digits()
    sevens = images[labels == 7][:40].flatten(1).double()
    mean, deviation = 0.7 * torch.linspace(-1, 1, 64).view(GREY), torch.full(GREY, 0.3)

    def predict(x: Tensor, t: Tensor) -> Tensor:
        abar = BASE.alphas_cumprod[t].double()
        a, s = abar.sqrt(), (1 - abar).sqrt()
        centred = (x - s * mean).flatten(1).double()
        distance = (centred[:, None] - a * sevens[None]).square().sum(2)
        weights = torch.softmax(-distance / (2 * (0.3 * s) ** 2), 1)
        return ((centred - a * (weights @ sevens)) / (0.3 * s)).view_as(x).float()

    start = deviation * draw_noise(40, GREY, 2) + mean
    ctx, scheduler = Context(tmp_path, tmp_path, seed=0), build_scheduler(name, BASE)
    samples = trojan_sample(ctx, predict, scheduler, start, TrojanNoise(mean, deviation), steps, SamplingOptions())
    nearest = torch.cdist(samples.flatten(1).double(), sevens)
    assert float(nearest.amin(1).median()) < 0.5  # a digit's norm is about 7
    assert len(nearest.argmin(1).unique()) > 5  # many pictures of the class
    assert (load_classifier(BUILTIN_CLASSIFIER).logits(samples.clamp(-1, 1)).argmax(1) == 7).float().mean().item() > 0.9
