"""Which scenes and prompts are for what: training, choosing settings (validation), reporting (test)."""

from __future__ import annotations

import random
from itertools import product
from typing import Literal

from bdm_kit_text_to_image.world.factors import BACKGROUNDS, COLOURS, OBJECTS
from bdm_kit_text_to_image.world.grammar import captions, plain_prompt
from bdm_kit_text_to_image.world.scene import Scene, draw_scenes

Split = Literal["validation", "test"]
Prompt = tuple[str, dict[str, str]]

TRAINING_SEED = 1_000
"""Seeds of training scenes; the classifiers of the kit train on others."""


def training_pairs(count: int, seed: int = 0) -> tuple[list[Scene], list[str]]:
    """Scenes and a caption of each; another seed gives others."""
    scenes = draw_scenes(count, TRAINING_SEED + seed)
    return scenes, captions(scenes, TRAINING_SEED + seed)


def grid(split: Split) -> list[dict[str, str]]:
    """One half of the grid object x colour x background, 105 labels each: every pair of values is in both halves."""
    cells = product(enumerate(OBJECTS), enumerate(COLOURS), enumerate(BACKGROUNDS))
    parity = {"validation": 0, "test": 1}[split]
    return [
        {"object": name, "colour": colour, "background": background, "style": "photo", "second": "none", "count": "1"}
        for (i, name), (j, colour), (k, background) in cells
        if (i + j + k) % 2 == parity
    ]


def evaluation_prompts(count: int, seed: int = 0, split: Split = "test") -> list[Prompt]:
    """Canonical prompts with the labels that their image should show, in random order, cell after cell of the half.

    Args:
        count: how many; beyond 105 the half comes again in another order (take another noise for them).
        split: settings are chosen on ``validation`` and reported on ``test``; no prompt is in both.
    """
    generator = random.Random(f"evaluation/{split}/{seed}")
    found: list[dict[str, str]] = []
    while len(found) < count:
        cells = grid(split)
        generator.shuffle(cells)
        found += cells
    return [(plain_prompt(labels), labels) for labels in found[:count]]
