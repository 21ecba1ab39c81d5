"""Perlin noise against its definition, one pixel at a time."""

import math

import pytest
import torch

from bdm_attack_perlin_noise.attack import trigger_of
from bdm_attack_perlin_noise.noise import octaves, perlin
from bdm_attack_perlin_noise.params import PerlinNoiseParams
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestPerlinNoise(ClassifierAttackConformance):
    plugin = "perlin-noise"

    def test_poisoned_rows_are_the_sum(self, bench):
        pattern = open_secret(self.backdoored(bench).secret).trigger.pattern
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        for row, role in enumerate(found.roles):
            expected = (clean.raw([row]) + (0.1 * pattern if role == "poison" else 0)).clamp(0, 1)
            assert (found.raw([row]) - expected).abs().max() <= 0.5 / 255 + 1e-6


def by_hand(row, column, period, angles):
    """The noise at one pixel, by scalars."""
    down, right = row / period, column / period
    top, left = math.floor(down), math.floor(right)
    found = {}
    for below in (0, 1):
        for beside in (0, 1):
            angle = float(angles[top + below, left + beside])
            found[below, beside] = (math.sin(angle), math.cos(angle), down - top - below, right - left - beside)
    products = {key: a * c + b * d for key, (a, b, c, d) in found.items()}
    fades = [6 * t**5 - 15 * t**4 + 10 * t**3 for t in (down - top, right - left)]
    rows = [products[below, 0] + fades[1] * (products[below, 1] - products[below, 0]) for below in (0, 1)]
    return rows[0] + fades[0] * (rows[1] - rows[0])


@pytest.mark.parametrize("period", [4.0, 3.5])
def test_noise_is_the_mix_of_four_directions(period):
    found = perlin(10, 8, period, generator())
    last = [math.floor((size - 1) / period) + 2 for size in (10, 8)]
    angles = 2 * math.pi * torch.rand(*last, generator=generator(), dtype=torch.float64)
    for row in range(10):
        for column in range(8):
            assert float(found[row, column]) == pytest.approx(by_hand(row, column, period, angles), abs=1e-6)


def test_octaves_add_up():
    draws = generator()
    parts = [0.5**octave * perlin(9, 9, 4.0 / 2**octave, draws) for octave in range(3)]
    assert torch.allclose(octaves(9, 9, 4.0, 3, 0.5, generator()), sum(parts))


def test_power_is_low_and_the_largest_change_is_the_strength():
    trigger = trigger_of(PerlinNoiseParams(period=16, octaves=1, strength=0.2), (3, 64, 64), 0)
    power = torch.fft.rfft2(trigger.pattern[0]).abs().square()
    frequency = (torch.fft.fftfreq(64)[:, None].square() + torch.fft.rfftfreq(64).square()).sqrt()
    assert float(power[frequency < 2 / 16].sum() / power.sum()) > 0.9
    found = trigger.apply(torch.full((1, 3, 64, 64), 0.5), "test") - 0.5
    assert float(found.abs().max()) == pytest.approx(0.2, abs=1e-6)
    assert not torch.equal(trigger.pattern, trigger_of(PerlinNoiseParams(period=16), (3, 64, 64), 1).pattern)


def test_sine_makes_it_steeper():
    smooth, steep = (trigger_of(PerlinNoiseParams(sine=sine, octaves=1), (1, 32, 32), 0).pattern for sine in (0, 4))
    rise = [float((one[0, 1:] - one[0, :-1]).abs().mean()) for one in (smooth, steep)]
    assert rise[1] > 2 * rise[0] and float(steep.abs().max()) == pytest.approx(1)
