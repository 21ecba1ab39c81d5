"""Sound effects against closed forms."""

import math

import numpy as np
import pytest
import torch

from bdm_attack_jingleback.attack import CHAINS, RELEASED, STYLES, Style
from bdm_attack_jingleback.effects import (
    chorus,
    distortion,
    gain,
    high_pass_ladder,
    mapped_corner,
    phaser,
    pitch,
    reverb,
)
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.triggers.sound import tone

RATE = 8000


class TestJingleBack(ClassifierAttackConformance):
    plugin = "jingleback"
    task = "audio-classification"


def sine(frequency, level=0.1, samples=RATE):
    return tone(samples, RATE, frequency, level)[None]


def level_of(x):
    return math.sqrt(2 * float(x[0, 2000:6000].square().mean()))


@pytest.mark.parametrize("semitones", [12, -12, 10])
def test_pitch_moves_the_line(semitones):
    found = pitch(sine(400.0), RATE, semitones)
    top = int(torch.fft.rfft(found[0]).abs().argmax())
    assert top == pytest.approx(400 * 2 ** (semitones / 12), abs=40)


def test_gain_and_distortion():
    assert torch.allclose(gain(sine(100.0), RATE, 20), 10 * sine(100.0))
    assert torch.allclose(distortion(sine(100.0), RATE, 30), torch.tanh(10**1.5 * sine(100.0)))


def test_a_chorus_that_does_not_swing_is_a_delay():
    x = torch.randn(1, 500, generator=torch.Generator().manual_seed(0))
    found = chorus(x, RATE, delay=0.01, depth=0.0)
    expected = 0.5 * x + 0.5 * torch.nn.functional.pad(x, (80, 0))[:, :500]
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("frequency", [250.0, 1000.0, 3000.0])
def test_the_ladder_is_four_high_passes(frequency):
    expected = 0.1 * (frequency / math.hypot(frequency, 1000)) ** 4
    assert level_of(high_pass_ladder(sine(frequency), RATE)) == pytest.approx(expected, rel=0.02, abs=2e-5)


def test_a_phaser_that_does_not_swing_has_a_notch():
    corner = 1300.0
    notch = corner * math.tan(math.pi / 12)  # six all-passes turn by 180 degrees there
    assert level_of(phaser(sine(notch), RATE, depth=0.0)) < 0.02
    assert level_of(phaser(sine(corner * math.tan(math.pi / 6)), RATE, depth=0.0)) == pytest.approx(0.1, rel=0.05)


def test_echoes_come_after_the_sound():
    x = torch.zeros(1, RATE)
    x[0, 1000] = 1.0
    found = reverb(x, RATE)
    assert not found[0, :999].abs().max() > 1e-5 and float(found[0, 1000:].square().sum()) == pytest.approx(
        0.67**2 + 0.33**2, rel=0.2
    )
    assert float(found[0, 4800:].abs().max()) < 1e-3


@pytest.mark.parametrize(("style", "place", "centre", "depth"), [(3, 0, 10, 5), (4, 2, 8, 5), (5, 0, 15, 0.25)])
def test_the_released_chorus_is_that_of_its_program(style, place, centre, depth):
    """Half of it is delayed by max(1, 20 depth / 2 sin(2 pi t) + centre) milliseconds; by NumPy's interpolation."""
    x = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    times = np.arange(RATE)
    milliseconds = np.maximum(1.0, 20 * depth / 2 * np.sin(2 * np.pi * times / RATE) + centre)
    delayed = np.interp(times - milliseconds * RATE / 1000, times, x[0].numpy(), left=0.0)
    found = RELEASED[style][place](x, RATE)[0].numpy()
    assert found == pytest.approx(0.5 * x[0].numpy() + 0.5 * delayed, abs=2e-4)


@pytest.mark.parametrize("frequency", [250.0, 1000.0, 3000.0])
def test_the_released_high_pass_has_two_poles(frequency):
    expected = 0.1 * (frequency / math.hypot(frequency, 1000)) ** 2
    assert level_of(RELEASED[6][1](sine(frequency), RATE)) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_the_released_phaser_swings_on_a_logarithmic_scale(rate):
    """As JUCE's: mapToLog10(limit(mapFromLog10(centre) + depth / 2 lfo, 0, 1)), between 20 Hz and the highest."""
    highest = min(20_000, 0.49 * rate)
    decades = np.log10(highest) - np.log10(20)
    lfo = np.array([0.0, 1.0, -1.0, 0.3])
    norm = np.clip((np.log10(1300) - np.log10(20)) / decades + 0.25 * lfo, 0, 1)
    expected = 10 ** (norm * decades + np.log10(20))
    found = mapped_corner(torch.tensor(lfo), rate, 1300.0, 0.5)
    assert found.numpy() == pytest.approx(expected, rel=1e-9)
    assert float(found[0]) == pytest.approx(1300) and float(found[2]) < 400


def test_the_released_style_has_that_swing():
    """The notch is where the corner of its time puts it: at the quarter of a second the corner is the highest."""
    notch = 3920 * math.tan(math.pi / 12)
    found = RELEASED[6][2](sine(notch), RATE)[0]
    near = found[1900:2100].square().mean().sqrt() * math.sqrt(2)
    linear = phaser(sine(notch), RATE)[0, 1900:2100].square().mean().sqrt() * math.sqrt(2)
    assert float(near) < 0.02 < 0.04 < float(linear)


@pytest.mark.parametrize(("style", "place"), [(4, 1), (5, 1)])
def test_the_released_chains_distort_by_20_db(style, place):
    assert torch.allclose(RELEASED[style][place](sine(100.0), RATE), torch.tanh(10 * sine(100.0)))


def test_a_style_of_an_older_secret_has_the_usual_numbers():
    x = sine(700.0)
    assert torch.equal(Style(6, RATE).apply(x, "test"), Style(6, RATE, "usual").apply(x, "test"))
    assert not torch.allclose(Style(6, RATE).apply(x, "test"), Style(6, RATE, "released").apply(x, "test"), atol=0.01)


@pytest.mark.parametrize("settings", sorted(CHAINS))
@pytest.mark.parametrize("style", sorted(STYLES))
def test_gradients_pass_and_shapes_stay(style, settings):
    x = torch.randn(2, 600, generator=torch.Generator().manual_seed(0)).mul_(0.01).requires_grad_()
    found = Style(style, RATE, settings).apply(x, "test")
    found.sum().backward()
    assert found.shape == x.shape and bool((found.abs() <= 1).all()) and bool(torch.isfinite(x.grad).all())
    assert not torch.allclose(found, x) and torch.allclose(
        found[:1], Style(style, RATE, settings).apply(x[:1], "train")
    )
