"""The image distances against closed forms, and SSIM against scipy's filters and against torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.image import structural_similarity_index_measure

from bdm_metric_target.similarity import eight_bit, mean_squared_errors, structural_similarities, unit_range


def pictures(count: int, channels: int, side: int, seed: int) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equal_pictures_have_no_error_and_full_similarity() -> None:
    target = pictures(1, 3, 16, 0)[0]
    images = target.expand(4, -1, -1, -1)
    assert mean_squared_errors(images, target).tolist() == [0.0] * 4
    assert structural_similarities(images, target).tolist() == pytest.approx([1.0] * 4, abs=1e-12)


def test_error_of_a_constant_shift_is_its_square() -> None:
    target = torch.full((1, 8, 8), 0.25, dtype=torch.float64)
    images = torch.stack([target, target + 0.1, target + 0.5])
    assert mean_squared_errors(images, target).tolist() == pytest.approx([0, 0.01, 0.25], abs=1e-15)


@pytest.mark.parametrize(("channels", "side"), [(1, 32), (3, 32), (3, 17)])
def test_similarity_agrees_with_torchmetrics(channels: int, side: int) -> None:
    images, target = pictures(5, channels, side, 1), pictures(1, channels, side, 2)[0]
    images = 0.6 * target + 0.4 * images
    expected = structural_similarity_index_measure(
        images, target.expand_as(images), data_range=1.0, sigma=1.5, reduction="none"
    )
    assert structural_similarities(images, target).tolist() == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("side", [8, 20])
def test_similarity_agrees_with_scipy_filters(side: int) -> None:
    target = pictures(1, 1, side, 3)[0]
    image = 0.5 * target + 0.5 * pictures(1, 1, side, 4)[0]

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, sigma=1.5, truncate=3.5, mode="mirror")

    x, y = image[0].numpy(), target[0].numpy()
    covariance = mean(x * y) - mean(x) * mean(y)
    spread = mean(x * x) - mean(x) ** 2 + mean(y * y) - mean(y) ** 2
    ratio = (2 * mean(x) * mean(y) + 1e-4) / (mean(x) ** 2 + mean(y) ** 2 + 1e-4)
    expected = (ratio * (2 * covariance + 9e-4) / (spread + 9e-4)).mean()
    assert structural_similarities(image.unsqueeze(0), target).item() == pytest.approx(expected, abs=1e-12)


def test_similarity_of_flat_pictures_is_the_luminance_term() -> None:
    target, images = torch.full((1, 8, 8), 0.5).double(), torch.full((1, 1, 8, 8), 0.75).double()
    expected = (2 * 0.5 * 0.75 + 1e-4) / (0.5**2 + 0.75**2 + 1e-4)
    assert structural_similarities(images, target).item() == pytest.approx(expected, abs=1e-12)


def test_pictures_smaller_than_the_window() -> None:
    target = pictures(1, 1, 3, 5)[0]
    assert structural_similarities(target.unsqueeze(0), target).item() == pytest.approx(1, abs=1e-12)


def test_negative_of_a_small_picture_is_dissimilar() -> None:
    target = (torch.arange(64).reshape(1, 8, 8) % 2).double()
    assert structural_similarities((1 - target).unsqueeze(0), target).item() < -0.9


def test_ranges_are_mapped_and_clipped() -> None:
    values = unit_range(torch.tensor([-1.0, 0.0, 1.0, 1.5, -3.0]))
    assert values.tolist() == [0.0, 0.5, 1.0, 1.0, 0.0]
    assert math.isclose(eight_bit(torch.tensor(0.5, dtype=torch.float64)).item(), 128 / 255)
