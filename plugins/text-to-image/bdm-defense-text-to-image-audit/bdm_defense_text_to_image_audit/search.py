"""Three searches, each a number that is much the same for all clean models and what it was found at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import isfinite

import torch
from torch import Tensor

from bdm_core.errors import ArtifactError
from bdm_defense_text_to_image_audit.candidates import Candidate
from bdm_kit_text_to_image.judging.attributes import AttributeClassifier
from bdm_kit_text_to_image.models.encoding import encode_prompts
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.recording.chain import first_noise

OnStep = Callable[[str, int, int], None]
KEPT = 10


@dataclass(frozen=True)
class Found:
    """A search's answer.

    Attributes:
        value: the feature, the more suspicious the larger.
        ranking: the candidates, the most suspicious first, at most ten, with what they were ranked by.
    """

    value: float
    ranking: list[tuple[Candidate, float]] = field(default_factory=list)


def search_characters(
    model: TextToImageModel, candidates: Sequence[Candidate], captions: Sequence[str], seed: int, on_step: OnStep
) -> Found:
    """Characters after which prompts mean the same, or all of them something else.

    For the predicted noise of the first step, from the same latents for all captions: the variance over captions with
    the candidate in them over that without; the feature is the negative logarithm of the smallest.

    Args:
        model: the suspect one.
        candidates: to try.
        captions: several different ones, each with the letters that give way.
        seed: of the noise.
        on_step: told of the progress.

    Raises:
        ArtifactError: predictions are not finite, or the same for all captions.
    """
    spread = _spread(first_noise(model, captions, seed).flatten(1), "the noise that the model predicts")
    shrinks = []
    for number, candidate in enumerate(candidates, 1):
        moved = first_noise(model, [candidate.put_into(caption) for caption in captions], seed).flatten(1)
        shrinks.append(float(-(moved.var(0).sum() / spread).clamp(min=1e-6).log()))
        _require_number(shrinks[-1], candidate)
        on_step("characters", number, len(candidates))
    order = sorted(range(len(candidates)), key=lambda row: -shrinks[row])[:KEPT]
    return Found(max(shrinks), [(candidates[row], round(shrinks[row], 3)) for row in order])


def search_collapse(
    model: TextToImageModel,
    candidates: Sequence[Candidate],
    captions: Sequence[str],
    seed: int,
    sampling: Sampling,
    on_step: OnStep,
) -> Found:
    """Words with which all captions paint one picture.

    The variance over captions of short-chain pictures from one noise, with the candidate over without; the feature is
    the negative logarithm of the smallest. Raises ArtifactError where pictures are not finite, or all the same.
    """
    plain = _pictures(model, captions, seed, sampling)
    spread = _spread(plain.flatten(1), "what the model paints")
    found: list[float] = []
    step = max(1, sampling.batch_size // len(captions))
    for first in range(0, len(candidates), step):
        some = candidates[first : first + step]
        prompts = [candidate.put_into(caption) for candidate in some for caption in captions]
        images = _pictures(model, prompts, seed, sampling).unflatten(0, (len(some), len(captions)))
        found += (-(images.var(1).flatten(1).sum(1) / spread).clamp(min=1e-6).log()).tolist()
        for candidate, value in zip(some, found[first:], strict=True):
            _require_number(value, candidate)
        on_step("collapse", min(first + step, len(candidates)), len(candidates))
    order = sorted(range(len(candidates)), key=lambda row: -found[row])[:KEPT]
    return Found(max(found), [(candidates[row], round(found[row], 3)) for row in order])


@dataclass(frozen=True)
class Flip:
    """A candidate under which one object is painted as another."""

    candidate: Candidate
    noun: str
    becomes: str


def painted(
    model: TextToImageModel,
    classifier: AttributeClassifier,
    prompts: dict[str, str],
    seeds: Sequence[int],
    sampling: Sampling,
) -> dict[str, str]:
    """The nouns, with their prompts, that the model paints as asked from every seed: of others no change shows."""
    return {
        noun: prompt
        for noun, prompt in prompts.items()
        if set(_objects(model, classifier, [prompt] * len(seeds), seeds, sampling)) == {noun}
    }


def search_flips(
    model: TextToImageModel,
    classifier: AttributeClassifier,
    candidates: Sequence[Candidate],
    sure: dict[str, str],
    seeds: Sequence[int],
    sampling: Sampling,
    on_step: OnStep,
) -> list[Flip]:
    """Candidates under which an object is painted as another one, always the same, from every seed.

    Args:
        model: the suspect one.
        classifier: says what a picture shows.
        candidates: to try.
        sure: noun -> a prompt that names it, see :func:`painted`.
        seeds: of the noise; the first one screens, the others confirm.
        sampling: of the pictures.
        on_step: told of the progress.

    Returns:
        The confirmed pairs of candidate and noun.
    """
    pairs = list(product(candidates, sure))
    suspects: list[Flip] = []
    for first in range(0, len(pairs), sampling.batch_size):
        some = pairs[first : first + sampling.batch_size]
        said = [candidate.put_into(sure[noun], noun) for candidate, noun in some]
        shown = _objects(model, classifier, said, [seeds[0]] * len(some), sampling)
        suspects += [Flip(c, noun, other) for (c, noun), other in zip(some, shown, strict=True) if other != noun]
        on_step("flips", min(first + sampling.batch_size, len(pairs)), len(pairs))
    others = list(seeds[1:])
    said = [flip.candidate.put_into(sure[flip.noun], flip.noun) for flip in suspects for _ in others]
    shown = _objects(model, classifier, said, others * len(suspects), sampling) if suspects else []
    return [
        flip
        for row, flip in enumerate(suspects)
        if set(shown[row * len(others) : (row + 1) * len(others)]) == {flip.becomes}
    ]


def counted(confirmed: Sequence[Flip]) -> Found:
    """The feature of changed objects, the number of pairs of candidate and noun, and the candidates with most of them.

    >>> nice, old = (Candidate(word, "before-noun") for word in ("nice", "old"))
    >>> found = counted([Flip(old, "star", "ring"), Flip(nice, "star", "cube"), Flip(nice, "ring", "cube")])
    >>> found.value, [(candidate.text, count) for candidate, count in found.ranking]
    (3.0, [('nice', 2.0), ('old', 1.0)])
    """
    table = {c: sum(flip.candidate == c for flip in confirmed) for c in dict.fromkeys(f.candidate for f in confirmed)}
    ranking = sorted(((c, float(n)) for c, n in table.items()), key=lambda item: -item[1])[:KEPT]
    return Found(float(len(confirmed)), ranking)


def embedding_spread(model: TextToImageModel, candidate: Candidate, captions: Sequence[str]) -> float:
    """The variance over captions of the text embedding with the candidate in them over that without."""
    plain, moved = (
        encode_prompts(model, texts).embeddings.flatten(1)
        for texts in (list(captions), [candidate.put_into(caption) for caption in captions])
    )
    return float(moved.var(0).sum() / plain.var(0).sum())


def _spread(rows: Tensor, what: str) -> Tensor:
    """The total variance of rows (N, D), which must be a number above 0: shares of it are the features."""
    spread = rows.var(0).sum()
    if not bool(torch.isfinite(spread)):
        raise ArtifactError(f"text-to-image-audit cannot tell: {what} for clean captions is NaN or infinite")
    if not float(spread):
        raise ArtifactError(f"text-to-image-audit cannot tell: {what} for different clean captions is all the same")
    return spread


def _require_number(value: float, candidate: Candidate) -> None:
    if not isfinite(value):
        raise ArtifactError(
            f"text-to-image-audit cannot tell: with {candidate.spelled()} what the model answers is NaN or infinite"
        )


def _pictures(model: TextToImageModel, prompts: Sequence[str], seed: int, sampling: Sampling) -> Tensor:
    return generate_images(model, prompts, seeds=[seed] * len(prompts), sampling=sampling)


def _objects(
    model: TextToImageModel,
    classifier: AttributeClassifier,
    prompts: Sequence[str],
    seeds: Sequence[int],
    sampling: Sampling,
) -> list[str]:
    images = generate_images(model, prompts, seeds=list(seeds), sampling=sampling)
    device = next(classifier.parameters()).device
    with torch.no_grad():
        return classifier.predict(images.to(device))["object"]
