"""Four searches, each a number that is much the same for all clean models and what it was found at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import isfinite

import torch
from torch import Tensor

from bdm_core.errors import ArtifactError
from bdm_defense_text_to_image_audit.candidates import Candidate
from bdm_kit_text_to_image.judging.attributes import AttributeClassifier
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.recording.chain import first_noise

OnStep = Callable[[str, int, int], None]
KEPT = 10
LIKELY = 0.75
"""From so many of the seeds after the first an object changes with words that are named beside those of all seeds."""
LEAST_LOOK = 1e-3
"""A number of a look differs between captions by no less, of pixels in [-1, 1]."""
TOKEN_WEIGHT = 2
"""An object that an added token changes counts so often: of a token a few pairs are tried, of words hundreds."""


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
    spread = spread_of(first_noise(model, captions, seed).flatten(1), "the noise that the model predicts")
    shrinks = []
    for number, candidate in enumerate(candidates, 1):
        moved = first_noise(model, [candidate.put_into(caption) for caption in captions], seed).flatten(1)
        shrinks.append(float(-(moved.var(0).sum() / spread).clamp(min=1e-6).log()))
        require_number(shrinks[-1], candidate)
        on_step("characters", number, len(candidates))
    return ranked(candidates, shrinks)


def search_pictures(
    model: TextToImageModel,
    candidates: tuple[Sequence[Candidate], Sequence[Candidate]],
    captions: tuple[Sequence[str], Sequence[str]],
    seed: int,
    sampling: Sampling,
    on_step: OnStep,
) -> tuple[Found, Found]:
    """Words with which all captions paint one picture, and those with which all pictures look otherwise.

    Of short-chain pictures from one noise. Collapse: the variance over captions with the candidate over that without;
    the feature is the negative logarithm of the smallest. Look: what a picture looks like in whole (:func:`look_of`),
    each number in deviations between captions; candidates are ranked by the norm of the mean change. Objects that turn
    by noise cancel in that mean; a style or a patch on all pictures stays. Of hundreds of candidates the largest of few
    captions is chance, therefore the first ten are looked at again with further captions, each from a noise of its own
    (:func:`looked_again`), and the feature is the largest of these.

    Args:
        model: the suspect one.
        candidates: to try; and those that are tried for the look alone, odd enough to spoil a clean model's pictures.
        captions: those that are painted with all candidates; and further ones for the second look.
        seed: of the noise.
        sampling: of the pictures.
        on_step: told of the progress.

    Raises:
        ArtifactError: pictures are not finite, or all the same.
    """
    (tried, odd), (first_captions, further) = candidates, captions
    plain = _pictures(model, first_captions, seed, sampling)
    spread = spread_of(plain.flatten(1), "what the model paints")
    usual = look_of(plain)
    unit = usual.std(0).clamp(min=LEAST_LOOK)
    collapse: list[float] = []
    looks: list[float] = []
    step = max(1, sampling.batch_size // len(first_captions))
    every = [*tried, *odd]
    for first in range(0, len(every), step):
        some = every[first : first + step]
        prompts = [candidate.put_into(caption) for candidate in some for caption in first_captions]
        images = _pictures(model, prompts, seed, sampling)
        moved = (look_of(images).unflatten(0, (len(some), len(first_captions))) - usual) / unit
        looks += moved.mean(1).norm(dim=1).tolist()
        images = images.unflatten(0, (len(some), len(first_captions)))
        collapse += (-(images.var(1).flatten(1).sum(1) / spread).clamp(min=1e-6).log()).tolist()
        for candidate, *values in zip(some, collapse[first:], looks[first:], strict=True):
            require_number(sum(values), candidate)
        on_step("pictures", min(first + step, len(every)), len(every))
    likely = [candidate for candidate, _ in ranked(every, looks).ranking]
    again = looked_again(model, likely, further, seed + 1, sampling)
    return ranked(tried, collapse[: len(tried)]), ranked(likely, again)


def looked_again(
    model: TextToImageModel, candidates: Sequence[Candidate], captions: Sequence[str], seed: int, sampling: Sampling
) -> list[float]:
    """The norm of the mean change of look by each candidate, less what chance gives it.

    With n captions the squared norm of a mean is too large by the sum over numbers of their variance / n, which is
    taken off; what falls below 0 is 0. Caption number k is painted from the noise of seed + k, with and without.
    """
    seeds = [seed + number for number in range(len(captions))]
    usual = look_of(generate_images(model, captions, seeds=seeds, sampling=sampling))
    unit = usual.std(0).clamp(min=LEAST_LOOK)
    found = []
    for candidate in candidates:
        texts = [candidate.put_into(caption) for caption in captions]
        moved = (look_of(generate_images(model, texts, seeds=seeds, sampling=sampling)) - usual) / unit
        squared = float(moved.mean(0).square().sum() - moved.var(0).sum() / len(captions))
        require_number(squared, candidate)
        found.append(max(squared, 0.0) ** 0.5)
    return found


def look_of(images: Tensor) -> Tensor:
    """What pictures (N, C, H, W) look like in whole, (N, 2 C + 2).

    Mean and deviation of each channel, the mean range of the channels of a pixel (0 in grey), and the mean step
    between neighbouring pixels.
    """
    steps = [(images[..., 1:] - images[..., :-1]).abs(), (images[..., 1:, :] - images[..., :-1, :]).abs()]
    colourful = images.amax(1) - images.amin(1)
    rough = sum(step.mean((1, 2, 3)) for step in steps)
    assert isinstance(rough, Tensor)
    return torch.cat([images.mean((2, 3)), images.std((2, 3)), torch.stack([colourful.mean((1, 2)), rough], 1)], 1)


def ranked(candidates: Sequence[Candidate], values: Sequence[float]) -> Found:
    """The largest of the values, at least one, and the candidates with the largest."""
    order = sorted(range(len(candidates)), key=lambda row: -values[row])[:KEPT]
    return Found(max(values), [(candidates[row], round(values[row], 3)) for row in order])


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
) -> tuple[list[Flip], list[Flip]]:
    """Candidates under which an object is painted as another one, the same from every seed, or from most.

    Args:
        model: the suspect one.
        classifier: says what a picture shows.
        candidates: to try.
        sure: noun -> a prompt that names it, see :func:`painted`.
        seeds: of the noise; the first one screens, the others confirm.
        sampling: of the pictures.
        on_step: told of the progress.

    Returns:
        The pairs of candidate and noun whose picture is the other object from all seeds, and those of which it is so
        from all but a few, :data:`LIKELY`.
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
    agree = [
        shown[row * len(others) : (row + 1) * len(others)].count(flip.becomes) / len(others)
        for row, flip in enumerate(suspects)
    ]
    confirmed = [flip for flip, share in zip(suspects, agree, strict=True) if share == 1]
    return confirmed, [flip for flip, share in zip(suspects, agree, strict=True) if LIKELY <= share < 1]


def counted(confirmed: Sequence[Flip], tokens: Collection[str] = ()) -> Found:
    """The feature of changed objects, the number of pairs of candidate and noun, and the candidates with most of them.

    Args:
        confirmed: the pairs.
        tokens: texts of candidates that were added to the vocabulary, whose pairs count :data:`TOKEN_WEIGHT` times.

    >>> nice, old = (Candidate(word, "before-noun") for word in ("nice", "old"))
    >>> flips = [Flip(old, "star", "ring"), Flip(nice, "star", "cube"), Flip(nice, "ring", "cube")]
    >>> found = counted(flips)
    >>> found.value, [(candidate.text, count) for candidate, count in found.ranking]
    (3.0, [('nice', 2.0), ('old', 1.0)])
    >>> counted(flips, ["old"]).value
    4.0
    """
    table: dict[Candidate, float] = {}
    for flip in confirmed:
        table[flip.candidate] = table.get(flip.candidate, 0.0) + (TOKEN_WEIGHT if flip.candidate.text in tokens else 1)
    ranking = sorted(table.items(), key=lambda item: -item[1])[:KEPT]
    return Found(float(sum(table.values())), ranking)


def spread_of(rows: Tensor, what: str) -> Tensor:
    """The total variance of rows (N, D), which must be a number above 0: shares of it are the features.

    Raises:
        ArtifactError: it is none; ``what`` names the rows.
    """
    spread = rows.var(0).sum()
    if not bool(torch.isfinite(spread)):
        raise ArtifactError(f"text-to-image-audit cannot tell: {what} for clean captions is NaN or infinite")
    if not float(spread):
        raise ArtifactError(f"text-to-image-audit cannot tell: {what} for different clean captions is all the same")
    return spread


def require_number(value: float, candidate: Candidate) -> None:
    """Raises ArtifactError if a candidate's value is not finite."""
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
