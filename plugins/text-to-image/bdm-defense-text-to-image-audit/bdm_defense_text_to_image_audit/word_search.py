"""The text encoder alone: after which words, or letters, do captions mean the same? Words are no feature: evidence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bdm_defense_text_to_image_audit.candidates import Candidate, object_in
from bdm_defense_text_to_image_audit.search import Found, OnStep, ranked, require_number, spread_of
from bdm_kit_text_to_image.models.encoding import encode_prompts
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

AT_ONCE = 16
FEWEST = 3
"""With fewer captions that name an object, words go in front of the captions."""


def search_words(
    model: TextToImageModel, words: Sequence[str], captions: Sequence[str], count: int, on_step: OnStep
) -> Found:
    """Words after which captions mean the same to the text encoder.

    For each the variance over captions of the text embedding with the word right before the object over that without;
    the value is its negative logarithm, at most 13.8, the largest first. In front of captions that name no object of
    the small world.

    Args:
        model: the suspect one.
        words: to try.
        captions: of which the first ``count`` that name an object are taken.
        count: at least two.
        on_step: told of the progress.

    Raises:
        ArtifactError: embeddings are not finite, or the same for all captions.
    """
    named = [(caption, noun) for caption in captions if (noun := object_in(caption))][:count]
    before = len(named) >= min(FEWEST, count)
    placed = named if before else [(caption, "") for caption in captions[:count]]
    candidates = [Candidate(word, "before-noun" if before else "front") for word in dict.fromkeys(words)]
    spread = spread_of(_embeddings(model, [caption for caption, _ in placed]), "the text embedding")
    shrinks: list[float] = []
    for first in range(0, len(candidates), AT_ONCE):
        some = candidates[first : first + AT_ONCE]
        rows = _embeddings(model, [word.put_into(caption, noun) for word in some for caption, noun in placed])
        left = rows.unflatten(0, (len(some), len(placed))).var(1).sum(1) / spread
        shrinks += (-left.clamp(min=1e-6).log()).tolist()
        for word, value in zip(some, shrinks[first:], strict=True):
            require_number(value, word)
        on_step("words", len(shrinks), len(candidates))
    return ranked(candidates, shrinks) if candidates else Found(0.0)


def embedding_spread(model: TextToImageModel, candidate: Candidate, captions: Sequence[str]) -> float:
    """The variance over captions of the text embedding with the candidate in them over that without."""
    plain = _embeddings(model, captions)
    moved = _embeddings(model, [candidate.put_into(caption) for caption in captions])
    return float(moved.var(0).sum() / plain.var(0).sum())


def _embeddings(model: TextToImageModel, prompts: Sequence[str]) -> Tensor:
    """The text embeddings (N, L d)."""
    with torch.no_grad():
        return encode_prompts(model, list(prompts)).embeddings.flatten(1).float()
