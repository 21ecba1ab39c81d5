"""Sets for telling speakers apart by their sound: the voices of :mod:`.spoken_digits`. Light: no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bdm_kit_classification.data.spoken_digits import CLASSES, SEED, WORDS, Levels, make_speaker, say

FIRST, SPEAKERS = 100, 16
"""Numbers of the speakers: no speaker of the spoken digits is among them."""
NAMES = [f"speaker {number:02d}" for number in range(1, SPEAKERS + 1)]
TRAINING_WORDS, TEST_WORDS = CLASSES[:7], CLASSES[7:]
TAKES = (12, 1, 8)
"""Takes of each word of training, reserve and test. Training and reserve have the same words, the test others."""
FURTHER_FIRST, FURTHER_SPEAKERS = 200, 32
FURTHER_NAMES = [f"speaker {number:02d}" for number in range(SPEAKERS + 1, SPEAKERS + FURTHER_SPEAKERS + 1)]
FURTHER_TAKES = (2, 1, 3)
"""Of the further speakers, whom no classifier of the others has heard."""


def say_speakers(
    speakers: int = SPEAKERS, takes: Sequence[int] = TAKES, first: int = FIRST
) -> list[tuple[Levels, Levels]]:
    """Clips int16 (N, S) and speakers int64 (N,) of training, reserve and test, always the same, in random order.

    Args:
        speakers: how many.
        takes: of each word, in the three parts.
        first: the number of the first speaker.

    >>> [clips.shape for clips, _ in say_speakers(2, (1, 1, 1))]
    [(14, 4000), (14, 4000), (6, 4000)]
    """
    voices = [make_speaker(first + number) for number in range(speakers)]
    made = []
    for part, (words, count) in enumerate(zip((TRAINING_WORDS, TRAINING_WORDS, TEST_WORDS), takes, strict=True)):
        before = takes[0] if part == 1 else 0
        clips, labels = [], []
        for number, voice in enumerate(voices):
            for word in words:
                for take in range(before, before + count):
                    draw = np.random.default_rng([SEED, first + number, list(WORDS).index(word), take])
                    clips.append(np.rint(say(word, voice, draw) * 32767).astype(np.int16))
                    labels.append(number)
        order = np.random.default_rng([SEED, first, part, speakers, count]).permutation(len(labels))
        made.append((np.stack(clips)[order], np.array(labels, dtype=np.int64)[order]))
    return made
