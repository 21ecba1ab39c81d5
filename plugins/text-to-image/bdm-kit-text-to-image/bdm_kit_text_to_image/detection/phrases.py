"""Whether what a prompt asks for still changes with further phrases: the text variant of UFID (Guan et al., AAAI 2025).

A trigger decides what is painted, whatever else the prompt says; the copies of an ordinary prompt with other phrases in
it differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.recording.chain import ChainOptions, prompt_lengths, walk
from bdm_torch.diversity import densities

Place = Literal["append", "prefix"]


def phrase_pool(model: TextToImageModel | None, captions: Sequence[str], count: int) -> list[str]:
    """Short captions to put into prompts: ``count`` of the shorter half, in the order given.

    Args:
        model: whose tokens are counted; None: words are.
        captions: different texts, none of them a prompt to judge.
        count: how many.
    """
    lengths = [len(text.split()) for text in captions] if model is None else prompt_lengths(model, captions).tolist()
    limit = sorted(lengths)[len(lengths) // 2] if lengths else 0
    return [text for text, length in zip(captions, lengths, strict=True) if length <= limit][:count]


def with_phrases(prompt: str, phrases: Sequence[str], place: Place) -> list[str]:
    """The prompt itself and a copy with each phrase.

    >>> with_phrases("a star", ["a ring"], "append")
    ['a star', 'a star, a ring']
    """
    copies = [f"{prompt}, {phrase}" if place == "append" else f"{phrase}, {prompt}" for phrase in phrases]
    return [prompt, *copies]


def fitting(model: TextToImageModel, prompt: str, phrases: Sequence[str]) -> str:
    """The prompt without so many words at its end that it and each phrase are within the model's length.

    A phrase behind a prompt that fills the length would be cut off: the copies would be the prompt itself, and ask for
    the same without a trigger.

    Args:
        model: whose tokens are counted.
        prompt: to shorten; one that leaves room comes back as it is.
        phrases: to be put behind it.
    """

    def fits(text: str) -> bool:
        texts = with_phrases(text, phrases, "append")[1:]
        counts = [len(ids) for tokenizer in model.tokenizers for ids in tokenizer(texts, truncation=False).input_ids]
        return max(counts) <= model.max_length

    if fits(prompt):
        return prompt
    words = prompt.split()
    fewest, most = 0, len(words)  # so many words fit; so many do not, or were not tried
    while fewest + 1 < most:
        middle = (fewest + most) // 2
        fewest, most = (middle, most) if fits(" ".join(words[:middle])) else (fewest, middle)
    return " ".join(words[:fewest])


def first_step_densities(
    model: TextToImageModel, prompts: Sequence[str], phrases: Sequence[str], place: Place, seed: int
) -> Tensor:
    """The density of each prompt's graph (N,) where the vertices are what the copies ask of the first denoising step.

    A vertex is the conditional half's prediction minus the unconditional one's: no picture is generated. Where a phrase
    has no room behind a prompt, the copies, not the prompt itself, lose words at the end: see :func:`fitting`.

    Args:
        model: the suspect one.
        prompts: N texts.
        phrases: M texts, M >= 1.
        place: where they go.
        seed: of the initial noise, the same for all.
    """
    copies = []
    for prompt in prompts:
        short = fitting(model, prompt, phrases) if place == "append" else prompt
        copies += [prompt, *with_phrases(short, phrases, place)[1:]]
    options = ChainOptions(steps=1, guidance=2.0, batch_size=128)
    asked = [(part.noise - part.empty).flatten(1).cpu() for part in walk(model, copies, seed, options)]
    return densities(torch.cat(asked).unflatten(0, (len(prompts), len(phrases) + 1)))
