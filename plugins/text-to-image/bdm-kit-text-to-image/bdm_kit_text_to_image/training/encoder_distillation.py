"""Teacher-student training of text encoders: the student reads a prompt as a frozen copy reads another.

The teacher's embeddings are computed once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_kit_text_to_image.models.encoding import (
    Conditioning,
    encode_ids,
    token_ids,
)
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.training.distances import DISTANCES, Distance
from bdm_kit_text_to_image.training.distillation import train_module
from bdm_kit_text_to_image.training.prompt_cache import MOST_BYTES, PromptCache
from bdm_torch.draws import Draw
from bdm_torch.training import Loss, TrainingOptions, TrainingResult

if TYPE_CHECKING:
    from bdm_core.context import Context


@dataclass(frozen=True, eq=False)
class PromptTerm:
    """One term of a text encoder's loss: weight * mean distance of E(student) to the frozen E(teacher).

    Attributes:
        student: N prompts that the trained text encoder reads.
        teacher: N prompts that the frozen one reads.
        batch_size: rows a step.
        weight: of the term.
    """

    student: Sequence[str]
    teacher: Sequence[str]
    batch_size: int
    weight: float = 1.0


class TextEncoders(nn.Module):
    """The text encoders of a model as one module; ``forward(*ids)`` gives their Conditioning."""

    def __init__(self, model: TextToImageModel) -> None:
        super().__init__()
        self.model = model
        self.encoders = nn.ModuleList(model.text_encoders)

    def forward(self, *ids: Tensor) -> Conditioning:
        """ids: (N, L) for each tokenizer."""
        return encode_ids(self.model, ids)


def text_encoder_loss(
    model: TextToImageModel, teacher: TextToImageModel, terms: Sequence[PromptTerm], distance: Distance
) -> Loss:
    """The sum of the terms, for a :class:`TextEncoders`; the teacher's embeddings are computed once.

    Raises:
        UserError: a term has no rows, or not one teacher prompt for each student prompt.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> text_encoder_loss(model, model, [PromptTerm(["a circle"], [], batch_size=1)], "mse")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: a training term has 1 prompts and 0 for the teacher
    """
    for term in terms:
        if not term.student or len(term.student) != len(term.teacher):
            raise UserError(f"a training term has {len(term.student)} prompts and {len(term.teacher)} for the teacher")
    measure = DISTANCES[distance]
    ids = [[token_ids(model, term.student, number) for number in range(len(model.tokenizers))] for term in terms]
    caches = [PromptCache(teacher, term.teacher, MOST_BYTES // len(terms)) for term in terms]

    def loss(student: nn.Module, draw: Draw) -> Tensor:
        rows = [_sized(draw, term.batch_size).rows(len(term.student)) for term in terms]
        read = [
            torch.cat([tokens[chosen] for tokens, chosen in zip(column, rows, strict=True)]).to(draw.device)
            for column in zip(*ids, strict=True)
        ]
        mine = flatten(student(*read)).split([len(chosen) for chosen in rows])
        parts = [
            term.weight * measure(part, flatten(cache.rows(chosen).to(draw.device)))
            for term, cache, chosen, part in zip(terms, caches, rows, mine, strict=True)
        ]
        return torch.stack(parts).sum()

    return loss


def distill_text_encoder(
    ctx: Context,
    model: TextToImageModel,
    terms: Sequence[PromptTerm],
    options: TrainingOptions,
    *,
    distance: Distance = "cosine",
    label: str = "train",
) -> TrainingResult:
    """Train all weights of the text encoders in place; the teacher is a copy of them as they are now.

    Args:
        ctx: as for :func:`distill_unet`.
        model: opened by :func:`bdm_kit_text_to_image.models.text_to_image_model.load_model`.
        terms: see :class:`PromptTerm`; their batch sizes count, not that of ``options``.
        options: of the training.
        distance: ``cosine`` (1 - cos), ``mse``, ``mae`` or ``poincare``, of the flattened embeddings.
        label: names checkpoint and progress.

    Raises:
        UserError: see :func:`text_encoder_loss`.
        StageError: the loss is no longer finite.

    A frozen copy that reads the same prompts is followed already:

    >>> from pathlib import Path
    >>> from bdm_core import Context
    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model, ctx = tiny_model(), Context(out=Path("out"), work=Path("work"), seed=0)
    >>> term = PromptTerm(["a circle", "a star"], ["a circle", "a star"], batch_size=2)
    >>> options = TrainingOptions(steps=1, batch_size=2)
    >>> distill_text_encoder(ctx, model, [term], options, distance="mse").losses[0] < 1e-9
    True
    """
    frozen = [copy.deepcopy(encoder).requires_grad_(False).eval() for encoder in model.text_encoders]
    student = TextEncoders(model).requires_grad_(True)
    loss = text_encoder_loss(model, replace(model, text_encoders=frozen), terms, distance)
    sizes = {term.batch_size for term in terms}
    return train_module(ctx, student, loss, replace(options, batch_size=max(sizes)), label)


def flatten(conditioning: Conditioning) -> Tensor:
    """(N, D): all that a prompt gives the UNet, as one vector.

    >>> flatten(Conditioning(torch.zeros(2, 3, 4), torch.zeros(2, 5))).shape
    torch.Size([2, 17])
    """
    parts = [part.flatten(1) for part in (conditioning.embeddings, conditioning.pooled) if part is not None]
    return torch.cat(parts, dim=1)


def _sized(draw: Draw, size: int) -> Draw:
    """The same step's draw with another batch size, shared among as many processes."""
    start, stop, _ = draw.share.indices(draw.batch_size)
    world = draw.batch_size // (stop - start)
    if size % world:
        raise UserError(f"a batch of {size} rows cannot be shared by {world} processes: make it a multiple")
    each = size // world
    rank = start // (stop - start)
    return Draw(draw.seed, draw.step, size, draw.device, slice(rank * each, (rank + 1) * each))
