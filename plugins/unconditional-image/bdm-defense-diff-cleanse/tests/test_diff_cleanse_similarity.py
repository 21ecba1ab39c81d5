"""Cliques against brute force, the entropy against its closed form, and which images count as similar."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from bdm_defense_diff_cleanse.similarity import cosines, largest_clique, mscr, pixel_entropy, target_set

PICTURE = torch.where(torch.arange(64).view(1, 8, 8) % 3 == 0, 0.9, -0.8)


@pytest.mark.parametrize("seed", range(12))
def test_largest_clique_is_that_of_brute_force(seed: int) -> None:
    upper = torch.rand(8, 8, generator=torch.Generator().manual_seed(seed)) < 0.3 + 0.05 * seed
    graph = upper.triu(1) | upper.triu(1).T
    found = largest_clique(graph)
    mutual = [
        group
        for size in range(1, 9)
        for group in combinations(range(8), size)
        if all(graph[i, j] for i, j in combinations(group, 2))
    ]
    assert tuple(found) in mutual and len(found) == max(len(group) for group in mutual)


def test_planted_copies_are_the_target_set() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 1, 8, 8, generator=generator).round() * 2 - 1
    images[[1, 4, 5, 7]] = PICTURE + 0.02 * torch.randn(4, 1, 8, 8, generator=generator)
    assert target_set(images, 0.97) == [1, 4, 5, 7] and mscr(images, 0.97) == 0.5
    assert target_set(images[[0, 2, 3]], 0.97) == [] and mscr(images[[0, 2, 3]], 0.97) == 0


def test_cosine_is_torch_s() -> None:
    images = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1
    flat = ((images + 1) / 2).flatten(1)
    expected = torch.nn.functional.cosine_similarity(flat[:, None], flat[None], dim=2)
    torch.testing.assert_close(cosines(images), expected)


def test_blank_and_broken_images_are_not_similar() -> None:
    blank, broken, far = torch.full((1, 8, 8), 0.3), PICTURE * float("nan"), 20 * PICTURE
    images = torch.stack([blank, blank, broken, broken, far, far, PICTURE, PICTURE])
    assert target_set(images, 0.97) == [6, 7]


def test_entropy_of_one_and_two_levels() -> None:
    level = lambda index: 2 * index / 63 - 1  # noqa: E731
    one = torch.full((1, 8, 8), level(20))
    two = torch.where(torch.arange(64).view(1, 8, 8) < 32, level(10), level(50))
    three = torch.where(torch.arange(64).view(1, 8, 8) < 16, level(5), two)
    found = pixel_entropy(torch.stack([one, two, three]))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 1.5]), rtol=0, atol=1e-4)
    assert pixel_entropy(torch.zeros(1, 3, 70, 64)).shape == (1,)


def test_gradient_of_the_entropy_is_that_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(3)
    images, direction = (torch.rand(1, 1, 4, 4, generator=generator, dtype=torch.float64) - 0.5 for _ in range(2))
    variable = images.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(pixel_entropy(variable).sum(), [variable])
    width = 1e-6
    slope = (pixel_entropy(images + width * direction) - pixel_entropy(images - width * direction)) / (2 * width)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-4)
