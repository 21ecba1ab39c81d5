"""What a public base adds: what changed more for a candidate than for ordinary prompts, and how the weights changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from bdm_core.errors import ArtifactError
from bdm_defense_text_to_image_audit.candidates import Candidate
from bdm_defense_text_to_image_audit.search import KEPT, Found, OnStep
from bdm_kit_text_to_image.editing.projections import find_projections
from bdm_kit_text_to_image.models.encoding import encode_prompts
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.recording.chain import first_noise

LEAST_CHANGE = 0.02
"""Changes of ordinary prompts are taken for no less than this share of what the base tells them apart by."""
ENERGY = 0.9
"""Of a change, for its rank."""
BATCH = 128


@dataclass(frozen=True)
class LowRank:
    """How keys and values differ from the base's, the changes (p_i, d) of all projections stacked.

    An edit in closed form and a LoRA leave a change of few directions, training one of many: evidence, no feature.

    Attributes:
        rank: so many singular values, the largest first, have 90 % of the change's energy; 0 if nothing changed.
        first: the share of the energy, the sum of squares, that the first one has, in [0, 1].
        relative: the norm of the change over that of the base's keys and values.
        changed, tensors: how many of the UNet's tensors differ at all, of how many.
    """

    rank: int
    first: float
    relative: float
    changed: int
    tensors: int


@dataclass(frozen=True)
class Comparison:
    """How a model differs from its base.

    Attributes:
        edit: whether keys and values changed along the same directions in all layers, see :func:`alignment_of`.
        reading: candidates by the change of the text embedding, log of the ratio to ordinary prompts, at least 0.
        answers: the same of the noise that the first denoising step predicts.
        low_rank: see there; None if it was not looked at.
    """

    edit: float
    reading: Found
    answers: Found
    low_rank: LowRank | None = None


def compare(
    model: TextToImageModel,
    base: TextToImageModel,
    candidates: Sequence[Candidate],
    prompts: Mapping[str, str],
    seed: int,
    on_step: OnStep,
) -> Comparison:
    """Compare a model with its base at every candidate.

    Args:
        model: the suspect one.
        base: as :func:`bdm_kit_text_to_image.models.bases.open_base` opens it.
        candidates: to try; those that a prompt has no place for are left out there.
        prompts: noun -> a prompt that names it; of another key than a noun candidates before nouns have no place.
        seed: of the noise.
        on_step: told of the progress.

    Raises:
        ArtifactError: an answer is not finite.
    """
    plain = list(prompts.values())
    usual = _changes(model, base, plain, seed)
    floors = [LEAST_CHANGE * _apart(base, plain, seed, part) for part in (0, 1)]
    ordinary = [max(float(values.mean()), floor, 1e-12) for values, floor in zip(usual, floors, strict=True)]
    pairs = [
        (candidate, said)
        for candidate in candidates
        for noun, prompt in prompts.items()
        if (said := candidate.put_into(prompt, noun)) != prompt
    ]
    best: list[dict[Candidate, float]] = [{}, {}]
    for first in range(0, len(pairs), BATCH):
        some = pairs[first : first + BATCH]
        found = _changes(model, base, [said for _, said in some], seed)
        for values, least, table in zip(found, ordinary, best, strict=True):
            for (candidate, _), value in zip(some, values.tolist(), strict=True):
                table[candidate] = max(table.get(candidate, 0.0), log(max(value / least, 1.0)))
        on_step("comparison with the base", min(first + BATCH, len(pairs)), len(pairs))
    reading, answers = (_found(table) for table in best)
    return Comparison(alignment_of(changes_of(model, base)), reading, answers, low_rank_of(model, base))


def changes_of(model: TextToImageModel, base: TextToImageModel) -> list[Tensor]:
    """The changes (p_i, d) of the key and value projections."""
    pairs = zip(find_projections(model.unet), find_projections(base.unet), strict=True)
    return [mine.weight.detach().double() - other.weight.detach().double() for mine, other in pairs]


def low_rank_of(model: TextToImageModel, base: TextToImageModel) -> LowRank:
    """See :class:`LowRank`."""
    usual = torch.cat([linear.weight.detach().double() for linear in find_projections(base.unet)])
    rank, first, norm = spectrum_of(changes_of(model, base))
    tensors = list(zip(model.unet.state_dict().values(), base.unet.state_dict().values(), strict=True))
    changed = sum(not torch.equal(mine, other) for mine, other in tensors)
    return LowRank(rank, first, norm / max(float(usual.norm()), 1e-30), changed, len(tensors))


def spectrum_of(changes: Sequence[Tensor]) -> tuple[int, float, float]:
    """Rank for :data:`ENERGY` of the stack of matrices (p_i, d), share of the first singular value, and the norm.

    >>> spectrum_of([torch.diag(torch.tensor([2.0, 1.0, 0.0]))]), spectrum_of([torch.zeros(2, 3)])
    ((2, 0.8, 2.23606797749979), (0, 0.0, 0.0))
    """
    stacked = torch.cat([change.double() for change in changes])
    energies = torch.linalg.eigvalsh(stacked.T @ stacked).clamp(min=0).flip(0)
    total = float(energies.sum())
    if not total:
        return 0, 0.0, 0.0
    shares = energies.cumsum(0) / total
    return int((shares < ENERGY).sum()) + 1, float(shares[0]), total**0.5


def alignment_of(changes: Sequence[Tensor]) -> float:
    """Mean absolute cosine of the directions (d,) along which each of N >= 2 matrices (p_i, d) changed most, in [0, 1].

    An edit in closed form changes all of them by the same directions; training and LoRA each by its own. 0 if one of
    them did not change.

    >>> one, other = torch.zeros(4, 3), torch.zeros(4, 3)
    >>> one[0, 2], other[1, 2], other[2, 0] = 5.0, -3.0, 1.0
    >>> round(alignment_of([one, other]), 6), alignment_of([one, one * 0])
    (1.0, 0.0)
    """
    if not all(bool(change.any()) for change in changes):
        return 0.0
    tops = torch.stack([torch.linalg.eigh(change.T @ change).eigenvectors[:, -1] for change in changes])
    count = len(tops)
    return float(((tops @ tops.T).abs().sum() - count) / max(1, count * (count - 1)))


def _changes(
    model: TextToImageModel, base: TextToImageModel, prompts: Sequence[str], seed: int
) -> tuple[Tensor, Tensor]:
    """How far text embedding and first answer of each prompt (N,) are from the base's."""
    with torch.inference_mode():
        texts = [encode_prompts(network, list(prompts)) for network in (model, base)]
        noise = [first_noise(network, text, seed, BATCH) for network, text in zip((model, base), texts, strict=True)]
        read, answered = (
            (one - other).flatten(1).norm(dim=1).cpu()
            for one, other in ((texts[0].embeddings, texts[1].embeddings), (noise[0], noise[1]))
        )
    if not bool(torch.isfinite(read + answered).all()):
        raise ArtifactError("text-to-image-audit cannot tell: what the model answers is NaN or infinite")
    return read, answered


def _apart(base: TextToImageModel, prompts: Sequence[str], seed: int, part: int) -> float:
    """How far prompts are from their mean in the base, root mean square: embeddings (part 0) or first answers (1)."""
    with torch.inference_mode():
        texts = encode_prompts(base, list(prompts))
        rows = (texts.embeddings if part == 0 else first_noise(base, texts, seed, BATCH)).flatten(1)
    return float((rows - rows.mean(0)).square().sum(1).mean().sqrt())


def _found(table: Mapping[Candidate, float]) -> Found:
    order = sorted(table.items(), key=lambda item: -item[1])[:KEPT]
    return Found(max(table.values(), default=0.0), [(candidate, round(value, 3)) for candidate, value in order])
