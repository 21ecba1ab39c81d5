"""Spoken digits by the program espeak-ng, where it is installed: other voices than our own. Light: no torch."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bdm_core.errors import UserError
from bdm_kit_classification.data.spoken_digits import CLASSES, SEED, Levels
from bdm_kit_classification.sounds.files import fitted, read_sound

PROGRAMS = ("espeak-ng", "espeak")
TRAINING_ACCENTS, TEST_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029"), ("en-gb-x-rp", "en-gb-x-gbclan")
TRAINING_VARIANTS, TEST_VARIANTS = ("m1", "m2", "m3", "m4", "m5", "f1", "f2", "f3"), ("m7", "f4", "croak")
SPEEDS = ((150, 175, 200), (165,), (160, 185))
"""Words a minute of training, reserve and test."""
LONGEST = 3
"""Seconds that are read of what the program writes."""


def say_by_espeak(rate: int, samples: int) -> list[tuple[Levels, Levels]]:
    """Clips int16 (N, samples) and labels int64 (N,) of training, reserve and test, always the same for one version.

    Accents and voices of the test are in no other part.

    Args:
        rate: samples a second.
        samples: of a clip.

    Raises:
        UserError: the program is not installed, or fails.
    """
    program = find_program()
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        for part, speeds in enumerate(SPEEDS):
            accents, variants = (TEST_ACCENTS, TEST_VARIANTS) if part == 2 else (TRAINING_ACCENTS, TRAINING_VARIANTS)
            clips, labels, voices = [], [], []
            for voice in (f"{accent}+{variant}" for accent in accents for variant in variants):
                for label, word in enumerate(CLASSES):
                    for speed in speeds:
                        say_word(program, word, voice, speed, path)
                        clips.append(without_silence(read_sound(path, rate, LONGEST * rate), samples))
                        labels.append(label)
                        voices.append(voice)
            order = np.random.default_rng([SEED, part]).permutation(len(labels))
            made.append((np.stack(clips)[order], np.array(labels, dtype=np.int64)[order], np.array(voices)[order]))
    return made


def find_program() -> str:
    """The program's path. Raises UserError if it is not installed."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    raise UserError("espeak-digits needs the program espeak-ng: install it, or take spoken-digits, which needs none")


def say_word(program: str, word: str, voice: str, speed: int, path: Path) -> None:
    """One word as a WAV file. Raises UserError if the program fails."""
    command: Sequence[str] = (program, "-v", voice, "-s", str(speed), "-w", str(path), word)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{program} did not run: {error}") from None
    if done.returncode or not path.is_file():
        said = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise UserError(f"{program} cannot say {word!r} with the voice {voice}: {said}")


def without_silence(levels: Levels, samples: int) -> Levels:
    """The middle of what is louder than a hundredth of the loudest sample, int16 (samples,).

    >>> without_silence(np.array([0, 0, 500, 1000, 0, 0, 0, 0], dtype=np.int16), 4).tolist()
    [0, 500, 1000, 0]
    """
    loud = np.flatnonzero(np.abs(levels.astype(np.int32)) > np.abs(levels.astype(np.int32)).max() / 100)
    return fitted(levels[loud[0] : loud[-1] + 1] if len(loud) else levels, samples)
