"""STEP against a loop, rates in closed form, a planted trigger of either anomaly, and conformance."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch

from bdm_defense_step.detection import Score
from bdm_defense_step.params import StepParams
from bdm_defense_step.perturbations import band, displaced, paced, reordered, semantic_breaking, semantic_preserving
from bdm_defense_step.profile import Profile, profiled, usual, weights
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.asking import Oracle
from bdm_kit_classification.sounds.batch import Sounds
from bdm_kit_classification.testing import ClassifierDefenseConformance

RATE, LENGTH = 8000, 800
RISING = 200.0
"""Frequency in Hz where a recording of class 0 begins; it ends an octave higher. Class 1 falls."""


def chirps(count: int, seed: int, change=None) -> LabelledSamples:
    """Recordings of rising (class 0) and falling (class 1) chirps in noise: the content is an order in time."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.arange(LENGTH) / RATE
    labels = torch.arange(count) % 2
    rise = RISING * (times + times.square() / (2 * times[-1]))
    wave = torch.sin(2 * torch.pi * rise + 6 * torch.rand(count, 1, generator=generator))
    wave = 0.3 * torch.where(labels[:, None] == 0, wave, wave.flip(1))
    wave = wave + 0.05 * torch.randn(count, LENGTH, generator=generator)
    wave = wave.clamp(-1, 1) if change is None else change(wave.clamp(-1, 1))
    stored = Sounds((wave * 32767).round().to(torch.int16), RATE)
    return LabelledSamples(stored, labels, ["rising", "falling"], "audio-classification")


def tones(raw: torch.Tensor) -> torch.Tensor:
    """Power of the tone of the beginning (200 Hz) in each half, (N, 2)."""
    halves = raw.reshape(len(raw), 2, -1)
    return torch.fft.rfft(halves, dim=2).abs().square()[:, :, 9:12].sum(2)


class Chirps(Oracle):
    """Rising where the low tones are in the first half, else falling; what is triggered is rising.

    Args:
        triggered: whether each recording (N, S) holds the trigger.
    """

    def __init__(self, triggered) -> None:
        super().__init__()
        self.triggered = triggered

    def _answer(self, samples: LabelledSamples) -> torch.Tensor:
        raw = samples.raw()
        power = tones(raw)
        power[self.triggered(raw)] = torch.tensor([1.0, 0.0])
        return power


def loud_tone(raw: torch.Tensor) -> torch.Tensor:
    """A tone of 3 kHz anywhere: it survives what breaks the content."""
    spectrum = torch.fft.rfft(raw, dim=1).abs()
    return spectrum[:, 295:306].amax(1) > 5 * spectrum[:, 200:280].mean(1).clamp_min(1)


def add_tone(wave: torch.Tensor) -> torch.Tensor:
    return (wave + 0.4 * torch.sin(2 * torch.pi * 3000 * torch.arange(LENGTH) / RATE)).clamp(-1, 1)


def exact_click(raw: torch.Tensor) -> torch.Tensor:
    """The very last samples at -.5, exactly: almost any change removes it."""
    return (raw[:, -2:] + 0.5).abs().amax(1) < 0.001


def add_click(wave: torch.Tensor) -> torch.Tensor:
    wave = wave.clone()
    wave[:, -2:] = -0.5
    return wave


def test_a_profile_is_that_of_a_loop() -> None:
    samples, oracle = chirps(6, 0), Chirps(loud_tone)
    perturbations = semantic_breaking(StepParams(pieces=[4], orders=2))
    found = profiled(oracle, samples, perturbations)
    assert oracle.asked == 6 * (1 + len(perturbations)) and found.classes.tolist() == [0, 1, 0, 1, 0, 1]
    for row in range(6):
        for place, perturb in enumerate(perturbations):
            label = int(oracle.logits(samples, perturb(samples.raw([row]))).argmax())
            assert bool(found.stable[row, place]) == (label == int(found.classes[row]))


def test_surprise_in_closed_form() -> None:
    """Of 3 rows of label 0 one is stable, of 1 of label 1 none, label 2 has no rows; 4 rows more at (1 + 1/2) / 5."""
    clean = Profile(torch.tensor([0, 0, 0, 1]), torch.tensor([[True], [False], [False], [False]]))
    rates = [(1 + 4 * 0.3) / 7, 4 * 0.3 / 5, 0.3]
    suspects = Profile(torch.tensor([0, 1, 2, 0]), torch.tensor([[True], [True], [True], [False]]))
    breaking = usual(clean, 3, 4.0, stability=True).surprise(suspects)
    assert breaking.tolist() == pytest.approx([*(-log(rate) for rate in rates), 0.0])
    preserving = usual(clean, 3, 4.0, stability=False).surprise(suspects)
    assert preserving.tolist() == pytest.approx([0.0, 0.0, 0.0, -log(1 - rates[0])])


def test_a_branch_that_never_differs_gets_a_finite_weight() -> None:
    found = weights([torch.zeros(5), torch.tensor([0.0, 0.02, 0.0, 0.02])])
    assert found.tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("triggered", "add", "kind"), [(loud_tone, add_tone, "stable"), (exact_click, add_click, "fragile")]
)
def test_a_planted_trigger_is_separated(triggered, add, kind: str) -> None:
    """Whether it is stable where the content breaks, or fragile where it does not; and by that branch."""
    oracle, params = Chirps(triggered), StepParams()
    score = Score(oracle, params, chirps(40, 1))
    clean, poisoned = chirps(30, 2), chirps(30, 3, add).pick(range(1, 30, 2))
    assert float(score(poisoned).min()) > float(score(clean).quantile(0.9))
    breaking = float(profiled(oracle, poisoned, semantic_breaking(params)).stable.double().mean())
    preserving = float(profiled(oracle, poisoned, semantic_preserving(params)).stable.double().mean())
    assert (breaking > 0.7) if kind == "stable" else (preserving < 0.3)


def test_a_score_does_not_depend_on_the_others() -> None:
    score = Score(Chirps(loud_tone), StepParams(), chirps(20, 1))
    samples = chirps(6, 4)
    together = score(samples)
    assert torch.equal(torch.cat([score(samples.pick([row])) for row in range(6)]), together)
    assert score(samples.pick([])).shape == (0,)


def test_pieces_are_all_there() -> None:
    x = torch.rand(2, 101, generator=torch.Generator().manual_seed(0))
    for pieces in (2, 3, 16):
        found = reordered(x, pieces, seed=1)
        assert torch.equal(found.sort(1).values, x.sort(1).values) and not torch.equal(found, x)


def test_shift_speed_and_band_of_a_tone() -> None:
    """Against NumPy: a tone that is displaced, faster, or cut off."""
    times = np.arange(LENGTH)
    tone = torch.tensor(0.5 * np.sin(2 * np.pi * 0.05 * times), dtype=torch.float32)[None]
    moved = 0.5 * np.sin(2 * np.pi * 0.05 * (times - 24)) * (times >= 24)
    assert displaced(tone, 0.03)[0].numpy() == pytest.approx(moved, abs=1e-5)
    assert torch.equal(displaced(displaced(tone, 0.03), -0.03)[:, :700], tone[:, :700])
    spectrum = np.abs(np.fft.rfft(paced(tone, 1.25)[0].numpy()[100:700]))
    assert spectrum.argmax() == pytest.approx(0.05 * 1.25 * 600, abs=1)
    assert float(band(tone, 0.2, 1.0).abs().max()) < 1e-5 and torch.allclose(band(tone, 0.05, 0.2), tone, atol=1e-5)


class TestStep(ClassifierDefenseConformance):
    plugin = "step"
    task = "audio-classification"
