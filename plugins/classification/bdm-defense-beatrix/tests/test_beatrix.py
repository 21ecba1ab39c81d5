"""Gram matrices and ranges against NumPy, and planted correlations."""

from __future__ import annotations

import numpy as np
import torch

from bdm_defense_beatrix.gram import gram_entries, gram_sums, ranges
from bdm_kit_classification.testing import RowDetectorConformance


class TestBeatrix(RowDetectorConformance):
    plugin = "beatrix"


class TestBeatrixOnTexts(TestBeatrix):
    task = "text-classification"


class TestPublishedEntries(RowDetectorConformance):
    plugin = "beatrix"
    params = {"epochs": 1, "batch_size": 10, "entries": "triangle"}


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_sums_follow_the_definition() -> None:
    maps = uniform(3, 4, 5)
    values = maps.double().numpy()
    for order in (1, 2, 3):
        for sample in range(3):
            powers = values[sample] ** order
            expected = ((powers @ powers.T) ** (1 / order)).sum(1)
            np.testing.assert_allclose(gram_sums(maps, 3)[sample, order - 1].numpy(), expected)


def test_entries_are_the_upper_triangle() -> None:
    maps = uniform(3, 4, 5)
    values, row, column = maps.double().numpy(), *np.triu_indices(4)
    found = gram_entries(maps, 2)
    assert found.shape == (3, 2, 10)
    for sample in range(3):
        expected = np.sqrt(values[sample] ** 2 @ (values[sample] ** 2).T)[row, column]
        np.testing.assert_allclose(found[sample, 1].numpy(), expected)


def test_ranges_and_deviations_follow_the_definition() -> None:
    sums = uniform(21, 2, 3).double()
    found = ranges(sums, 2.0, 0.25)
    values = sums.numpy()
    median = np.median(values, 0)
    spread = np.median(np.abs(values - median), 0)
    low, high = np.maximum(median - 2 * spread, 0), median + 2 * spread
    floor = 0.25 * high.mean(1, keepdims=True)
    others = 2 * uniform(5, 2, 3, seed=1).double().numpy()
    below, above = np.maximum(low - others, 0) / (low + floor), np.maximum(others - high, 0) / (high + floor)
    expected = (below + above).mean((1, 2))
    np.testing.assert_allclose(found.deviations(torch.from_numpy(others)).numpy(), expected, rtol=1e-6)


def test_a_silent_channel_does_not_swamp_the_others() -> None:
    sums = uniform(20, 1, 4).double() + 1
    sums[:, 0, 0] = 0
    other = sums[:1].clone()
    other[0, 0, 0] = 0.01
    assert float(ranges(sums, 3.0, 0.5).deviations(other)) < 0.02
    assert float(ranges(sums, 3.0, 0.0).deviations(other)) > 1000


def test_planted_rows_whose_channels_fire_together_are_found() -> None:
    """Same mean of every channel, but in poisoned rows the channels fire at the same places."""
    clean, suspects = uniform(60, 16, 60) ** 4, uniform(300, 16, 60, seed=1) ** 4
    poisoned = torch.arange(300) % 3 == 0
    together = suspects[:, :1].expand(-1, 16, -1) + 0.1 * suspects
    suspects = torch.where(poisoned[:, None, None], together / together.mean(2, keepdim=True) / 5, suspects)
    found = ranges(gram_sums(clean, 2), 3.0, 0.5)
    scores = found.deviations(gram_sums(suspects, 2))
    limit = found.deviations(gram_sums(uniform(200, 16, 60, seed=2) ** 4, 2)).quantile(0.95)
    flagged = scores > limit
    assert 2 * float((flagged & poisoned).sum()) / float(flagged.sum() + poisoned.sum()) > 0.9
