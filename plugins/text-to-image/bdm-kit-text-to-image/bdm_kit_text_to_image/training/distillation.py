"""Teacher-student training of UNets: a frozen copy of the clean model answers, the student follows.

What does not change is computed once: text embeddings (the text encoder is frozen, or it is the teacher's) and latents.
A step makes one forward pass of the student over all terms of the loss, and one of the teacher.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_kit_text_to_image.models.encoding import (
    Conditioning,
    add_noise,
    predict,
    training_target,
)
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.training.prompt_cache import MOST_BYTES, PromptCache
from bdm_torch.draws import Draw
from bdm_torch.training import Loss, TrainingOptions, TrainingResult, train_in_stage

if TYPE_CHECKING:
    from bdm_core.context import Context


@dataclass(frozen=True, eq=False)
class UNetTerm:
    """One term of a UNet's loss: weight * mean over its N rows of ||eps(z_t, t, E(student)) - answer||^2.

    Attributes:
        latents: z_0, (N, C, h, w).
        student: N prompts that the trained UNet reads.
        teacher: N prompts with which the frozen UNet gives the answer for the same z_t; None: the answer is what
            diffusion training asks for (the noise, or v).
        weight: of the term.
        spread: (N, C, h, w): every step draws z_0 anew, ``latents`` + ``spread`` * normal noise, as those train who
            sample the autoencoder's posterior; None: z_0 is ``latents``.
    """

    latents: Tensor
    student: Sequence[str]
    teacher: Sequence[str] | None = None
    weight: float = 1.0
    spread: Tensor | None = None


def unet_loss(model: TextToImageModel, terms: Sequence[UNetTerm], teacher: nn.Module | None) -> Loss:
    """The sum of the terms, for :func:`bdm_torch.training.train`; each has ``batch_size`` rows a step.

    Args:
        model: its text encoders, frozen, and its scheduler.
        terms: equal prompts in several terms are encoded once.
        teacher: a frozen UNet; may be None if no term has teacher prompts.

    Raises:
        UserError: a term has no rows, or not as many prompts as latents.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> unet_loss(model, [UNetTerm(torch.zeros(2, 4, 8, 8), ["a circle"])], None)
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: a training term needs as many prompts as images, and at least one: ...
    """
    for term in terms:
        counts = {len(term.latents), len(term.student), len(term.latents if term.teacher is None else term.teacher)}
        if len(counts) > 1 or 0 in counts:
            raise UserError(f"a training term needs as many prompts as images, and at least one: it has {counts}")
    caches = {}
    for prompts in (prompts for term in terms for prompts in (term.student, term.teacher) if prompts is not None):
        caches.setdefault(id(prompts), PromptCache(model, prompts, MOST_BYTES // (2 * len(terms))))
    taught = [number for number, term in enumerate(terms) if term.teacher is not None]
    if taught and teacher is None:
        raise UserError("a term with teacher prompts needs a teacher")

    def loss(student: nn.Module, draw: Draw) -> Tensor:
        noisy, timesteps, answers, read, asked = [], [], [], [], []
        for term in terms:
            rows = draw.rows(len(term.latents))
            clean = term.latents[rows].to(draw.device)
            if term.spread is not None:
                clean = clean + term.spread[rows].to(draw.device) * draw.normal(*clean.shape[1:])
            t = draw.timesteps(model.timesteps)
            noise = draw.normal(*clean.shape[1:])
            noisy.append(add_noise(model.scheduler, clean, noise, t))
            timesteps.append(t)
            read.append(caches[id(term.student)].rows(rows).to(draw.device))
            if term.teacher is None:
                answers.append(training_target(model.scheduler, clean, noise, t))
            else:
                answers.append(clean)  # its place; the teacher answers below
                asked.append(caches[id(term.teacher)].rows(rows).to(draw.device))
        if taught:
            assert teacher is not None
            with torch.inference_mode():
                found = predict(
                    teacher.to(draw.device),
                    torch.cat([noisy[i] for i in taught]),
                    torch.cat([timesteps[i] for i in taught]),
                    _join(asked),
                )
            for number, answer in zip(taught, found.clone().chunk(len(taught)), strict=True):
                answers[number] = answer
        predicted = predict(student, torch.cat(noisy), torch.cat(timesteps), _join(read)).chunk(len(terms))
        parts = [
            term.weight * functional.mse_loss(mine, answer)
            for term, mine, answer in zip(terms, predicted, answers, strict=True)
        ]
        return torch.stack(parts).sum()

    return loss


def distill_unet(
    ctx: Context,
    model: TextToImageModel,
    terms: Sequence[UNetTerm],
    options: TrainingOptions,
    *,
    parts: Iterable[nn.Module] | None = None,
    label: str = "train",
) -> TrainingResult:
    """Train ``model.unet`` in place on the sum of the terms; the teacher is a copy of it as it is now.

    Args:
        ctx: of the stage: seed, device, checkpoints, progress, and the kit's mixed precision.
        model: opened by :func:`bdm_kit_text_to_image.models.text_to_image_model.load_model`.
        terms: see :class:`UNetTerm`.
        options: of the training; ``batch_size`` rows of each term a step.
        parts: modules of the UNet to train; None for all of it.
        label: names checkpoint and progress.

    Raises:
        UserError: see :func:`unet_loss`; or there is nothing to train.
        StageError: the loss is no longer finite.

    A frozen copy of the same UNet that reads the same prompts is followed already:

    >>> from pathlib import Path
    >>> from bdm_core import Context
    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model, ctx = tiny_model(), Context(out=Path("out"), work=Path("work"), seed=0)
    >>> term = UNetTerm(torch.zeros(2, 4, 8, 8), ["a circle", "a star"], teacher=["a circle", "a star"])
    >>> distill_unet(ctx, model, [term], TrainingOptions(steps=1, batch_size=2)).losses[0] < 1e-9
    True
    """
    teacher = None
    if any(term.teacher is not None for term in terms):
        teacher = copy.deepcopy(model.unet).requires_grad_(False).eval()
    model.unet.requires_grad_(False)
    for part in [model.unet] if parts is None else parts:
        part.requires_grad_(True)
    loss = unet_loss(model, terms, teacher)
    return train_module(ctx, model.unet, loss, options, label)


def train_module(
    ctx: Context, module: nn.Module, loss: Loss, options: TrainingOptions, label: str = "train"
) -> TrainingResult:
    """:func:`bdm_torch.training.train_in_stage`; no parameter of the module requires a gradient afterwards.

    Args:
        ctx: of the stage; it gets the losses as a curve.
        module: what requires a gradient in it is trained, in place.
        loss: of the module and a draw, see :data:`bdm_torch.training.Loss`.
        options: of the training; the precision is the kit's.
        label: names checkpoint and progress.

    Raises:
        StageError: the loss is no longer finite.

    >>> from pathlib import Path
    >>> from bdm_core import Context
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> module, x = nn.Linear(1, 1), torch.ones(8, 1)
    >>> def loss(module, draw):
    ...     return module(x[draw.rows(len(x))]).square().mean()
    >>> len(train_module(ctx, module, loss, TrainingOptions(steps=3, batch_size=4)).losses)
    3
    >>> module.weight.requires_grad
    False
    """
    try:
        return train_in_stage(ctx, module, loss, options, label=label)
    finally:
        module.requires_grad_(False)


def _join(parts: Sequence[Conditioning]) -> Conditioning:
    return Conditioning(*(None if part[0] is None else torch.cat(part) for part in zip(*parts, strict=True)))  # type: ignore[arg-type]
