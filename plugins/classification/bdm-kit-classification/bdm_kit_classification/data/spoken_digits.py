"""Spoken digits by source-filter synthesis: many made-up speakers, one random number generator a clip. Light: no torch.

A word is a row of phones. Voiced ones are harmonics of a falling pitch under a spectral envelope of three formants
(Fant 1960); fricatives and bursts are noise in a band. Formants glide from phone to phone. A speaker has a pitch, a
length of the vocal tract, a tilt of the source, a breath, a tempo and an accent: formants of its own for each phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

RATE, SAMPLES = 8000, 4000
SEED = 20240917
FRAME = 40
"""Samples from one point of all contours to the next: 5 ms."""
Levels = np.ndarray[Any, Any]


class Phone(NamedTuple):
    """Formants in Hz, amplitudes of voice and noise, centre and width of the noise in Hz, duration in ms."""

    formants: tuple[float, float, float]
    voice: float
    noise: float
    centre: float
    width: float
    duration: float


PHONES = {
    "IH": Phone((400, 1950, 2550), 1.0, 0, 0, 1, 75),
    "IY": Phone((280, 2250, 2950), 1.0, 0, 0, 1, 120),
    "EH": Phone((550, 1800, 2500), 1.0, 0, 0, 1, 90),
    "EY": Phone((460, 2050, 2650), 1.0, 0, 0, 1, 110),
    "AH": Phone((640, 1200, 2400), 1.0, 0, 0, 1, 100),
    "AX": Phone((500, 1450, 2450), 0.8, 0, 0, 1, 60),
    "AA": Phone((740, 1150, 2450), 1.0, 0, 0, 1, 100),
    "AO": Phone((560, 860, 2400), 1.0, 0, 0, 1, 120),
    "OW": Phone((480, 900, 2350), 1.0, 0, 0, 1, 120),
    "UW": Phone((320, 950, 2250), 1.0, 0, 0, 1, 140),
    "W": Phone((320, 700, 2200), 0.7, 0, 0, 1, 60),
    "R": Phone((350, 1150, 1600), 0.8, 0, 0, 1, 65),
    "N": Phone((260, 1500, 2500), 0.45, 0, 0, 1, 75),
    "V": Phone((300, 1100, 2300), 0.35, 0.05, 2600, 1000, 55),
    "Z": Phone((300, 1600, 2500), 0.35, 0.16, 3500, 500, 75),
    "S": Phone((350, 1700, 2600), 0.0, 0.30, 3500, 500, 95),
    "F": Phone((350, 1200, 2300), 0.0, 0.10, 2300, 1400, 85),
    "TH": Phone((350, 1400, 2500), 0.0, 0.06, 2900, 1000, 75),
    "-": Phone((400, 1600, 2550), 0.0, 0.0, 2000, 500, 35),
    "T": Phone((380, 1800, 2650), 0.0, 0.35, 3100, 700, 22),
    "K": Phone((380, 1900, 2400), 0.0, 0.30, 1900, 500, 24),
}
WORDS = {
    "zero": "Z IH R OW",
    "one": "W AH N",
    "two": "- T UW",
    "three": "TH R IY",
    "four": "F AO R",
    "five": "F AA IY V",
    "six": "S IH - K S",
    "seven": "S EH V AX N",
    "eight": "EY IH - T",
    "nine": "N AA IY N",
}
CLASSES = list(WORDS)
PARTS = ((25, 8), (4, 5), (8, 6))
"""Speakers and takes of each word: of training, reserve and test. No speaker is in two parts."""


@dataclass(frozen=True)
class Speaker:
    """What stays the same in all a speaker's clips."""

    pitch: float
    tract: float
    tilt: float
    breath: float
    tempo: float
    accent: dict[str, Levels]


def make_speaker(number: int) -> Speaker:
    """A speaker by number, always the same."""
    draw = np.random.default_rng([SEED, number])
    pitch = float(np.exp(draw.uniform(np.log(85), np.log(240))))
    size = 0.5 * (np.log(pitch) - np.log(85)) / np.log(240 / 85) + 0.5 * draw.uniform()  # higher voices, shorter tracts
    accent = {name: 1 + 0.1 * draw.standard_normal(3) for name in PHONES}
    tilt, breath, tempo = draw.uniform(0.7, 1.4), draw.uniform(0.002, 0.02), draw.uniform(0.85, 1.15)
    return Speaker(pitch, 0.88 + 0.3 * float(size), float(tilt), float(breath), float(tempo), accent)


def say(word: str, speaker: Speaker, draw: np.random.Generator) -> Levels:
    """One clip, float64 (SAMPLES,) with its largest value between .25 and .9, with noise at -3 to 12 dB."""
    phones = WORDS[word].split()
    times = np.array([PHONES[name].duration for name in phones]) * speaker.tempo * draw.uniform(0.88, 1.14)
    times *= np.exp(0.1 * draw.standard_normal(len(phones)))
    times *= min(1.0, 460 / times.sum())
    start = draw.uniform(0.0, max(1.0, 490 - times.sum()))
    ends = start + np.cumsum(times)
    clock = np.arange(0, SAMPLES + FRAME, FRAME) * (1000 / RATE)
    jitter = 1 + 0.07 * draw.standard_normal((len(phones), 3))
    formants = np.array([PHONES[name].formants * speaker.accent[name] for name in phones]) * jitter * speaker.tract
    middles = ends - times / 2
    tracks = np.array([np.interp(clock, middles, formants[:, place]) for place in range(3)])
    inside = (clock[:, None] >= ends - times) & (clock[:, None] < ends)
    voice = _smooth(inside @ np.array([PHONES[name].voice for name in phones]), 3)
    along = np.clip((clock - start) / times.sum(), 0, 1)
    pitch = speaker.pitch * (1.08 - 0.2 * along + 0.03 * draw.standard_normal()) * draw.uniform(0.93, 1.07)
    sound = _voiced(pitch, tracks, voice, speaker, draw)
    for place, name in enumerate(phones):
        phone = PHONES[name]
        if phone.noise:
            envelope = _smooth(inside[:, place] * phone.noise * draw.uniform(0.7, 1.4), 2)
            centre = min(phone.centre * (0.6 + 0.4 * speaker.tract), 3700)
            sound += _band(draw, centre, phone.width) * _contour(envelope)
    sound += speaker.breath * draw.standard_normal(SAMPLES) * _contour(voice)
    power = float(np.mean(sound**2))
    sound += draw.standard_normal(SAMPLES) * np.sqrt(power) * 10 ** (-draw.uniform(-3, 12) / 20)
    return sound * (draw.uniform(0.25, 0.9) / np.abs(sound).max())


def _voiced(pitch: Levels, tracks: Levels, voice: Levels, speaker: Speaker, draw: np.random.Generator) -> Levels:
    """Harmonics of the pitch under the envelope of the formants, all up to 3.8 kHz."""
    count = int(3800 / pitch.min())
    harmonics = np.arange(1, count + 1)[:, None] * pitch
    levels = harmonics ** (-speaker.tilt) * voice * (harmonics < 3800)
    gain = np.zeros_like(harmonics)
    for place, (weight, width) in enumerate(((1.0, 60.0), (0.6, 90.0), (0.3, 140.0))):
        offset = (harmonics - tracks[place]) / (width * speaker.tract)
        gain += weight / np.sqrt(1 + offset**2)
    levels = levels * gain * 400
    phase = np.cumsum(_contour(pitch)) * (2 * np.pi / RATE) + draw.uniform(0, 2 * np.pi)
    turn = np.exp(1j * phase).astype(np.complex64)
    step, sound = turn.copy(), np.zeros(SAMPLES)
    for row in levels:
        sound += _contour(row) * step.imag
        step *= turn
    loudest = float(np.abs(sound).max())
    return sound / loudest if loudest else sound


def _contour(values: Levels) -> Levels:
    """Values at all points of the clock, at all samples."""
    return np.interp(np.arange(SAMPLES), np.arange(len(values)) * FRAME, values)


def _smooth(values: Levels, width: int) -> Levels:
    window = np.hanning(2 * width + 1)
    return np.convolve(values, window / window.sum(), mode="same")


def _band(draw: np.random.Generator, centre: float, width: float) -> Levels:
    """Noise of deviation 1 around a frequency."""
    spectrum = np.fft.rfft(draw.standard_normal(SAMPLES))
    spectrum *= np.exp(-0.5 * ((np.fft.rfftfreq(SAMPLES, 1 / RATE) - centre) / width) ** 2)
    noise = np.fft.irfft(spectrum, SAMPLES)
    return noise / noise.std()


def say_digits(*parts: Sequence[int]) -> list[tuple[Levels, Levels, Levels]]:
    """Clips int16 (N, SAMPLES), labels and speakers int64 (N,) of the parts, always the same, in random order.

    Args:
        parts: of each, how many speakers and how many takes of each word; speakers differ from part to part.

    >>> (clips, labels, _), (more, _, speakers) = say_digits((1, 1), (2, 1))
    >>> clips.shape, clips.dtype, sorted(labels.tolist()), len(more), sorted(set(speakers.tolist()))
    ((10, 4000), dtype('int16'), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 20, [1, 2])
    """
    made = []
    first = 0
    for speakers, takes in parts:
        clips, labels = [], []
        for number in range(first, first + speakers):
            speaker = make_speaker(number)
            for label, word in enumerate(CLASSES):
                for take in range(takes):
                    draw = np.random.default_rng([SEED, number, label, take])
                    clips.append(np.rint(say(word, speaker, draw) * 32767).astype(np.int16))
                    labels.append(label)
        order = np.random.default_rng([SEED, first, speakers, takes, 0, 0]).permutation(len(labels))
        voices = np.repeat(np.arange(first, first + speakers), len(CLASSES) * takes)
        made.append((np.stack(clips)[order], np.array(labels, dtype=np.int64)[order], voices[order]))
        first += speakers
    return made
