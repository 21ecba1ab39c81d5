"""Whether an odd character of a prompt does what no other character in its place does.

A look-alike or invisible character breaks a word into tokens that the model hardly knows: whichever it is, the model is
asked for about the same. If one of them is a trigger, the prompt with it asks for something else than the same prompt
with others. The harmless oddity of a text, which is all that a detector of odd texts sees, cancels.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from bdm_kit_text_to_image.detection.one_class import Scorer
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.prompts.normalising import is_latin, normalised
from bdm_kit_text_to_image.recording.chain import ChainOptions, walk

CHARACTERS = "characters against others"
MOST = 4
"""Of a prompt with more kinds of odd characters the first of them are tried."""
UNIT, ALLOWED = 0.2, 2.0
"""A deviation is counted in units of the logarithm; so many of them an odd character may have on a clean model."""
LEAST_DISTANCE = 1e-3
"""In lengths of the vectors that are compared: others that are nearer to each other are one to the model, such as what
its tokenizer does not know, and no measure of anything."""
RANGES = {2: (0x80, 0x800), 3: (0x800, 0x10000), 4: (0x10000, 0x20000)}
"""Length in UTF-8 -> code points, from and below."""
UNASSIGNED = {"Cn", "Co", "Cs", "Cc"}
HALF = "Cs"
"""Half a character has no bytes in UTF-8."""


def odd_characters(prompt: str) -> list[str]:
    """The characters that are tried, each once: those beyond ASCII, of another script's prompt the disguised ones.

    >>> odd_characters("a ph\\u043eto of a caf\\u00e9\\u200b"), odd_characters("a photo")
    (['о', 'é', '\\u200b'], [])
    """
    plain = normalised(prompt)
    kept = set() if is_latin(prompt) else set(plain)
    odd = (letter for letter in dict.fromkeys(prompt) if not letter.isascii() and letter not in kept)
    return [letter for letter in odd if unicodedata.category(letter) != HALF][:MOST]


def others(character: str, prompt: str, count: int) -> list[str]:
    """Characters as long in UTF-8, spread evenly over all there are, none of them in the prompt.

    A tokenizer that works on bytes makes as many tokens of each.

    >>> [len(other.encode()) for other in others("\\u200b", "a\\u200b", 3)]
    [3, 3, 3]
    """
    every = [other for other in _as_long(len(character.encode())) if other not in prompt]
    return [every[(2 * number + 1) * len(every) // (2 * count)] for number in range(count)]


@cache
def _as_long(length: int) -> list[str]:
    letters = [chr(point) for point in range(*RANGES[length]) if not 0xD800 <= point < 0xE000]
    return [letter for letter in letters if unicodedata.category(letter) not in UNASSIGNED]


def stand_out(asked: Tensor) -> Tensor:
    """How far each first row is from the others of its group, over how far these are from each other.

    The distance of a row is the median of its distances to the others' rows; the logarithm of the first row's over the
    median of the others', in units of :data:`UNIT`.

    Args:
        asked: (G, 1 + K, D), G groups of vectors, the first of each that of the suspect; K >= 2.

    Returns:
        (G,) float64. Zero where the others are the same: see :data:`LEAST_DISTANCE`.

    >>> rows = torch.tensor([[5.0], [0.0], [1.0], [0.5]])
    >>> round(float(stand_out(rows[None])[0] * UNIT), 4)  # 4.5 over 0.75
    1.7918
    """
    given = asked.double()
    distances = torch.cdist(given, given)
    count = given.shape[1]
    found = []
    for row in range(count):
        rest = [other for other in range(1, count) if other != row]
        found.append(distances[:, row, rest].quantile(0.5, 1))
    middles = torch.stack(found, 1)
    own, usual = middles[:, 0], middles[:, 1:].quantile(0.5, 1)
    least = (LEAST_DISTANCE * given.norm(dim=2).quantile(0.5, 1)).clamp(min=torch.finfo(given.dtype).tiny)
    ratio = own.clamp(min=least).log() - usual.clamp(min=least).log()
    return torch.where(usual <= least, torch.zeros_like(ratio), ratio / UNIT)


def characters_against_others(
    model: TextToImageModel, prompts: Sequence[str], count: int, seed: int, batch_size: int
) -> Tensor:
    """:func:`stand_out` of each prompt's odd characters, the largest: (N,) float64; 0 for a prompt without any.

    What is compared is what a prompt asks of the first denoising step from the same noise, the conditional half's
    prediction minus the unconditional one's. Each odd character is replaced wherever it is.

    Args:
        model: the suspect one.
        prompts: N texts.
        count: K, other characters to try in the place of each.
        seed: of the noise.
        batch_size: prompts at once.
    """
    texts: list[str] = []
    rows: list[int] = []
    for row, prompt in enumerate(prompts):
        for odd in odd_characters(prompt):
            texts += [prompt, *(prompt.replace(odd, other) for other in others(odd, prompt, count))]
            rows.append(row)
    found = torch.zeros(len(prompts), dtype=torch.float64)
    if not texts:
        return found
    options = ChainOptions(steps=1, guidance=2.0, batch_size=batch_size)
    asked = torch.cat([(part.noise - part.empty).flatten(1).cpu() for part in walk(model, texts, seed, options)])
    values = stand_out(asked.unflatten(0, (len(rows), count + 1)))
    for row in dict.fromkeys(rows):
        found[row] = values[torch.tensor(rows) == row].amax()
    return found


def with_characters(inner: Scorer) -> Scorer:
    """A scorer of the other statistics, and to its scores the square of what the first one exceeds :data:`ALLOWED` by.

    The scale is its own: clean captions have no odd characters.

    >>> score = with_characters(lambda values: values[:, 0])
    >>> score(torch.tensor([[5.0, 1.0], [1.0, 1.0]], dtype=torch.float64)).tolist()
    [10.0, 1.0]
    """
    return lambda values: inner(values[:, 1:]) + (values[:, 0].double() - ALLOWED).clamp(min=0).square()
