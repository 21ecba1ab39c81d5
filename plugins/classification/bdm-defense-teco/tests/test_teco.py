"""TeCo: severities that rise, corruptions against closed forms and SciPy, a planted trigger, and conformance."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from bdm_defense_teco.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from bdm_defense_teco.noise_and_blur import convolved, disc, gaussian, magnified, motion_blur
from bdm_defense_teco.plugin import Teco
from bdm_defense_teco.robustness import deviations, first_changes
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.asking import Oracle
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.planted import plant
from bdm_kit_classification.testing.separation import judge_planted


def pictures(count: int, shape: tuple[int, int, int] = (3, 24, 24)) -> torch.Tensor:
    """Smooth backgrounds with a bright bar each."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, shape[0], 4, 4, generator=generator)
    found = torch.nn.functional.interpolate(coarse, shape[1:], mode="bicubic", align_corners=True) * 0.5
    for row in range(count):
        found[row, :, 4 + row : 8 + row, 5:15] = 0.9
    return found.clamp(0, 1)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(3, 24, 24), (1, 28, 28), (1, 8, 8)])
def test_severities_rise(name: str, shape: tuple[int, int, int]) -> None:
    """The mean change grows with the severity; values stay in [0, 1]. Frost fades more at the same strength from 3 to
    4, and boxes of nearly the picture's size fall on its pixels this way or that: both may change a little less there.
    """
    x = pictures(4, shape)
    changes = []
    for severity in range(1, SEVERITIES + 1):
        y = corrupted(x, name, severity, seed=0)
        assert y.shape == x.shape and float(y.min()) >= 0 and float(y.max()) <= 1
        changes.append(float((y - x).abs().mean()))
    assert changes[0] > 0 or shape[1] == 8
    least = {"frost": 0.97, "pixelate": 0.85}.get(name, 1.0)
    assert all(later >= least * earlier - 1e-7 for earlier, later in itertools.pairwise(changes)), changes
    assert changes[-1] > changes[0]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_strong_set_changes_more(name: str) -> None:
    x = pictures(4, (1, 28, 28))
    for severity in range(1, SEVERITIES + 1):
        weak, strong = (corrupted(x, name, severity, 0, kind) for kind in ("cifar-10-c", "imagenet-c"))  # type: ignore[arg-type]
        assert float((strong - x).abs().mean()) > float((weak - x).abs().mean())
        assert float(strong.min()) >= 0 and float(strong.max()) <= 1


def test_the_strong_set_is_that_of_imagenet_c() -> None:
    grey = torch.full((1, 3, 128, 128), 0.5)
    noise = corrupted(grey, "gaussian-noise", 2, 0, "imagenet-c") - grey
    assert float(noise.std()) == pytest.approx(0.12, rel=0.02)
    assert float(corrupted(grey, "brightness", 3, 0, "imagenet-c").mean()) == pytest.approx(0.8)
    asked = Counted()
    samples = LabelledSamples(
        (pictures(1) * 255).to(torch.uint8), torch.zeros(1, dtype=torch.int64), ["a"], "image-classification"
    )
    first_changes(asked, samples, ("brightness",), "imagenet-c")
    wanted = [corrupted(samples.raw(), "brightness", severity, 0, "imagenet-c").mean() for severity in (1, 5)]
    assert [float(asked.seen[1]), float(asked.seen[5])] == pytest.approx([float(mean) for mean in wanted], abs=1e-3)


class Counted(Oracle):
    """Always of one class; keeps the mean of what it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def _answer(self, samples: LabelledSamples) -> torch.Tensor:
        self.seen.append(samples.raw().mean())
        return torch.ones(len(samples), 1)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_picture_is_corrupted_as_it_would_be_alone(name: str) -> None:
    x = pictures(3)
    kept = x.clone()
    together = corrupted(x, name, 4, seed=1)
    alone = torch.cat([corrupted(x[row : row + 1], name, 4, seed=1) for row in range(3)])
    assert together.numpy() == pytest.approx(alone.numpy(), abs=1e-6)
    assert torch.equal(x, kept), "the pictures themselves were changed"


def test_noise_has_the_deviation_that_is_told() -> None:
    grey = torch.full((1, 3, 128, 128), 0.5)
    assert float((corrupted(grey, "gaussian-noise", 4, 0) - grey).std()) == pytest.approx(0.09, rel=0.02)
    assert float((corrupted(grey, "shot-noise", 3, 0) - grey).std()) == pytest.approx((0.5 / 100) ** 0.5, rel=0.02)
    assert float((corrupted(grey, "impulse-noise", 5, 0) != grey).float().mean()) == pytest.approx(0.07, rel=0.05)


def test_blur_is_that_of_scipy() -> None:
    x = pictures(1)
    for kernel in (disc(1.4), gaussian(0.8)):
        expected = ndimage.convolve(x[0, 0].double().numpy(), kernel.double().numpy(), mode="nearest")
        assert convolved(x, kernel)[0, 0].numpy() == pytest.approx(expected, abs=1e-5)


def test_geometry_in_closed_form() -> None:
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 32, 32).contiguous()
    inner = magnified(ramp, 2.0)[0, 0, 8, 4:-4]
    assert inner.numpy() == pytest.approx((0.5 + (ramp[0, 0, 0] - 0.5) / 2)[4:-4].numpy(), abs=1e-5)
    blurred = motion_blur(ramp, 5, 0)[0, 0, 16, 8:-8]
    assert blurred.numpy() == pytest.approx(ramp[0, 0, 0, 8:-8].numpy(), abs=1e-5), "the mean along a ramp is itself"


def test_contrast_and_pixelation_in_closed_form() -> None:
    x = pictures(1)
    mean = x.mean((2, 3), keepdim=True)
    assert corrupted(x, "contrast", 2, 0).numpy() == pytest.approx(((x + mean) / 2).clamp(0, 1).numpy(), abs=1e-6)
    blocks = corrupted(x, "pixelate", 2, 0, "imagenet-c")
    expected = x.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert blocks.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize(("severity", "share"), enumerate([0.95, 0.9, 0.85, 0.75, 0.65], 1))
def test_pixelation_is_pillows_box(severity: int, share: float) -> None:
    x = pictures(1, (1, 32, 32))
    image = Image.fromarray(x[0, 0].numpy())
    small = image.resize((int(32 * share), int(32 * share)), Image.Resampling.BOX)
    expected = np.asarray(small.resize((32, 32), Image.Resampling.BOX))
    assert corrupted(x, "pixelate", severity, 0)[0, 0].numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("severity", "radius", "alias"), [(1, 0.3, 0.4), (2, 0.4, 0.5), (3, 0.5, 0.6), (4, 1.0, 0.2), (5, 1.5, 0.1)]
)
def test_defocus_spreads_as_much_as_the_released_disc(severity: int, radius: float, alias: float) -> None:
    """There: the pixels of a grid within the radius, blurred by a normal kernel cut off at 3x3. At 32 pixels its
    variance is ours; at other sizes ours is the same share of the side, down to a fraction of a pixel.
    """
    line = np.arange(-8, 9)
    down, right = np.meshgrid(line, line, indexing="ij")
    grid = ((down**2 + right**2) <= radius**2).astype(float)
    taps = np.exp(-(np.arange(-1, 2) ** 2) / (2 * alias**2))
    released = ndimage.convolve(grid / grid.sum(), np.outer(taps, taps) / taps.sum() ** 2, mode="constant")

    def variance(side: int) -> float:
        x = torch.zeros(1, 1, side, side)
        x[:, :, side // 2, side // 2] = 1
        found = corrupted(x, "defocus-blur", severity, 0)[0, 0].double()
        assert float(found.sum()) == pytest.approx(1, abs=1e-5)
        return float((found.sum(1) * (torch.arange(side) - side // 2).double().square()).sum())

    assert variance(32) == pytest.approx(float((released * down**2).sum()), rel=0.03)
    assert variance(8) > 0 and variance(16) == pytest.approx(variance(32) / 2, rel=0.15)


def test_jpeg_is_pillows_of_the_released_qualities() -> None:
    x = (pictures(1, (3, 32, 32)) * 255).round() / 255
    for severity, quality in enumerate([80, 65, 58, 50, 40], 1):
        file = io.BytesIO()
        Image.fromarray((x[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        expected = np.asarray(Image.open(file)).transpose(2, 0, 1) / 255
        assert corrupted(x, "jpeg", severity, 0)[0].numpy() == pytest.approx(expected, abs=1e-6)


def test_the_white_of_snow_is_that_of_the_released_formula() -> None:
    """Where no flake falls: c x + (1 - c) max(x, 1.5 grey + .5), c = .95, .9, .9, .85, .8, of a dark and a coloured
    plane.
    """
    for colour in ((0.0, 0.0, 0.0), (0.6, 0.1, 0.2)):
        x = torch.tensor(colour)[:, None, None].expand(1, 3, 32, 32).contiguous()
        grey = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        for severity, kept in enumerate([0.95, 0.9, 0.9, 0.85, 0.8], 1):
            found = corrupted(x, "snow", severity, 0)
            wanted = [min(1.0, kept * value + (1 - kept) * max(value, 1.5 * grey + 0.5)) for value in colour]
            assert found.amin((0, 2, 3)).tolist() == pytest.approx(wanted, abs=1e-5)


class Planted(Oracle):
    """Dark or light, but class 2 where the last pixel is exactly white: a trigger that noise breaks at once."""

    def _answer(self, samples: LabelledSamples) -> torch.Tensor:
        raw = samples.raw()
        classes = (raw.mean((1, 2, 3)) > 0.35).long()
        classes[raw[:, 0, -1, -1] > 0.97] = 2
        return torch.eye(3)[classes]


def test_a_planted_trigger_is_uneven() -> None:
    def scores(triggered: bool) -> np.ndarray:
        x = pictures(12) * 0.5
        if triggered:
            x[:, :, -1, -1] = 1.0
        samples = LabelledSamples(
            (x * 255).round().to(torch.uint8),
            torch.zeros(12, dtype=torch.int64),
            ["a", "b", "c"],
            "image-classification",
        )
        names = ("brightness", "gaussian-noise", "defocus-blur", "motion-blur")
        return deviations(first_changes(Planted(), samples, names)).numpy()

    assert scores(triggered=True).min() > scores(triggered=False).max()


def test_triggered_inputs_are_found_and_shuffled_flags_are_not(tmp_path: Path) -> None:
    found = judge_planted(Teco(), plant(tmp_path / "planted"), tmp_path, false_positive_rate=0.02)
    assert found.f1 > 0.9 > 0.4 > found.shuffled


def test_deviation_is_that_of_numpy() -> None:
    changes = torch.randint(1, 7, (9, 15), generator=torch.Generator().manual_seed(0))
    assert deviations(changes).numpy() == pytest.approx(np.std(changes.numpy(), axis=1))


class TestTeco(ClassifierDefenseConformance):
    plugin = "teco"
