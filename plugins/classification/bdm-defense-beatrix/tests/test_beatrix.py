"""Gram matrices and ranges against NumPy, and planted correlations."""

from __future__ import annotations

import numpy as np
import torch

from bdm_defense_beatrix.gram import gram_entries, gram_sums, ranges
from bdm_defense_beatrix.infected import discrepancy, statistics
from bdm_kit_classification.testing import RowDetectorConformance


class TestBeatrix(RowDetectorConformance):
    plugin = "beatrix"


class TestBeatrixOnTexts(TestBeatrix):
    task = "text-classification"


class TestPublishedEntries(RowDetectorConformance):
    plugin = "beatrix"
    params = {"epochs": 1, "batch_size": 10, "entries": "triangle"}


class TestPublishedRule(RowDetectorConformance):
    plugin = "beatrix"
    params = {"epochs": 1, "batch_size": 10, "rule": "class", "class_threshold": 0.1}


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
    shuffled = poisoned[torch.randperm(300, generator=torch.Generator().manual_seed(6))]
    assert 2 * float((flagged & shuffled).sum()) / float(flagged.sum() + shuffled.sum()) < 0.45
    assert 2 * float((flagged & poisoned).sum()) / float(flagged.sum() + poisoned.sum()) > 0.9


def test_discrepancy_is_the_mean_over_pairs() -> None:
    one, other = uniform(7, 3).double(), uniform(4, 3, seed=1).double() + 0.3
    rows = np.concatenate([one.numpy(), other.numpy()])
    squares = np.square(rows[:, None] - rows).sum(2)
    middle = np.sort(squares.flatten())[(squares.size - 1) // 2]
    kernel = np.exp(-squares / middle) + np.exp(-2 * squares / middle)
    side = np.r_[np.full(7, 1 / 7), np.full(4, -1 / 4)]
    np.testing.assert_allclose(discrepancy(one, other), 7 * 4 / 11 * side @ kernel @ side, rtol=1e-9)


def test_the_infected_class_stands_out() -> None:
    values = []
    for label in range(10):
        usual, deviating = uniform(200, 8, seed=label), uniform(20, 8, seed=50 + label)
        values.append(discrepancy(usual, deviating + 0.5 * (label == 3)))
    found = statistics(torch.tensor(values, dtype=torch.float64))
    assert int(found.argmax()) == 3 and float(found[3]) > np.e**2 > float(found[torch.arange(10) != 3].max())
