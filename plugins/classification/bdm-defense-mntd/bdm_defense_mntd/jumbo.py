"""Jumbo learning (Xu et al., section V-B): random backdoors for the shadow models."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.texts.words import join_words, split_words
from bdm_kit_classification.triggers.words import InsertedSentence


@dataclass(frozen=True, eq=False)
class RandomTrigger:
    """x' = (1 - alpha m) x + alpha m t, with label ``target`` on a ``share`` of the rows.

    Attributes:
        mask: (1, H, W), 0 or 1; (S,) of sound.
        pattern: (C, H, W) in [0, 1]; (S,) in [-1, 1] of sound.
        opacity: alpha.
        target: the label.
        share: of the rows.
    """

    mask: Tensor
    pattern: Tensor
    opacity: float
    target: int
    share: float

    def apply(self, pictures: Tensor) -> Tensor:
        """Pictures (N, C, H, W) or waveforms (N, S) with the trigger."""
        strength = self.opacity * self.mask
        return (1 - strength) * pictures + strength * self.pattern


@dataclass(frozen=True, eq=False)
class RandomWords:
    """Words one after the other, put in anywhere, with label ``target`` on a ``share`` of the rows."""

    words: tuple[str, ...]
    target: int
    share: float

    def apply(self, texts: list[str]) -> list[str]:
        """Texts with the words."""
        return InsertedSentence(join_words(list(self.words))).apply(texts, "train")


def draw_words(samples: LabelledSamples, chance: random.Random) -> RandomWords:
    """One to four words of the texts; target and share as those of :func:`draw_trigger`."""
    known = sorted({word for text in samples.stored for word in split_words(text)})
    words = tuple(chance.choice(known) for _ in range(chance.randint(1, 4)))
    return RandomWords(words, chance.randrange(len(samples.classes)), chance.uniform(0.05, 0.5))


def draw_trigger(shape: tuple[int, int, int], classes: int, chance: random.Random) -> RandomTrigger:
    """A trigger as the paper draws them: with probability 4/5 a square of 2 to 5 of 28 pixels anywhere, of random dots,
    opaque or with an opacity of 0.2 to 0.5; else a pattern over the whole picture with an opacity of 0.05 to 0.2.

    The target is any class, the share of poisoned rows 0.05 to 0.5.
    """
    channels, height, width = shape
    generator = torch.Generator().manual_seed(chance.randrange(2**31))
    pattern = torch.rand(shape, generator=generator)
    side, mask = chance.choice((2, 3, 4, 5, 28)), torch.zeros(1, height, width)
    if side == 28:
        mask[:], opacity = 1.0, chance.uniform(0.05, 0.2)
    else:
        own = max(1, round(side / 28 * min(height, width)))
        top, left = chance.randrange(height - own + 1), chance.randrange(width - own + 1)
        mask[:, top : top + own, left : left + own] = 1.0
        dots = (torch.rand((1, height, width), generator=generator) < chance.uniform(0.1, 0.9)).float()
        pattern = dots.expand(channels, height, width)
        opacity = chance.uniform(0.2, 0.6)
        opacity = 1.0 if opacity > 0.5 else opacity
    return RandomTrigger(mask, pattern, opacity, chance.randrange(classes), chance.uniform(0.05, 0.5))


def draw_sound(length: int, classes: int, chance: random.Random) -> RandomTrigger:
    """As :func:`draw_trigger` for waveforms (S,): with probability 4/5 a piece of 2 to 25 % of the recording anywhere
    is a tone or noise, opaque or with an opacity of 0.2 to 0.5; else one lies over the whole, with one of 0.05 to 0.2.
    """
    generator = torch.Generator().manual_seed(chance.randrange(2**31))
    level, mask = chance.uniform(0.1, 0.9), torch.zeros(length)
    if chance.random() < 0.5:
        pattern = level * torch.sin(2 * torch.pi * chance.uniform(0.02, 0.48) * torch.arange(float(length)))
    else:
        pattern = level * (2 * torch.rand(length, generator=generator) - 1)
    if chance.random() < 0.2:
        mask[:], opacity = 1.0, chance.uniform(0.05, 0.2)
    else:
        own = max(1, round(chance.uniform(0.02, 0.25) * length))
        start = chance.randrange(length - own + 1)
        mask[start : start + own] = 1.0
        opacity = chance.uniform(0.2, 0.6)
        opacity = 1.0 if opacity > 0.5 else opacity
    return RandomTrigger(mask, pattern, opacity, chance.randrange(classes), chance.uniform(0.05, 0.5))


def poisoned(samples: LabelledSamples, trigger: RandomTrigger | RandomWords, chance: random.Random) -> LabelledSamples:
    """The rows, and beside them triggered copies of a share of them with the trigger's label."""
    rows = chance.sample(range(len(samples)), max(1, round(trigger.share * len(samples))))
    copies = samples.pick(rows)
    labels = dict.fromkeys(range(len(rows)), trigger.target)
    return samples.followed_by(copies.changed(range(len(rows)), trigger.apply(copies.raw()), labels))
