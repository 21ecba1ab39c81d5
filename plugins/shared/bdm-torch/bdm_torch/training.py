"""The training loop, on Accelerate.

Randomness has no state: every step derives its generator from (seed, step). Hence a killed training that continues
from its checkpoint gives the same bits, and several processes see the same batch as one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from bdm_core.errors import StageError, UserError
from bdm_torch.accelerators import accelerator_for, needs_no_wrapper
from bdm_torch.checkpoints import Snapshot, read_checkpoint, write_checkpoint
from bdm_torch.draws import Draw, step_seed
from bdm_torch.objective import Loss, Objective, Optimizer, Step, build_optimizer
from bdm_torch.optimizer import clip_gradients, follow

if TYPE_CHECKING:
    from bdm_core.context import Context

SYNCHRONISE_EVERY = 25
"""Steps between two looks at the losses; each look waits for the device."""

Progress = Callable[[str, int, int, float | None], None]


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        steps: optimiser steps.
        until: it ends after so many of them, at the rates of the whole; None: after all.
        batch_size: samples a step, over all processes.
        learning_rate: the peak rate.
        schedule: ``cosine`` falls to 0 at the last step, ``constant`` does not; both after a linear warm-up.
        warmup_steps: length of the warm-up.
        weight_decay: decoupled for adamw, else added to the gradient.
        max_gradient_norm: gradients are clipped to this 2-norm; None to leave them.
        ema_decay: decay of the exponential moving average of the weights, ramped up as (1+i)/(10+i); the model ends
            with the average. None for no average.
        mixed_precision: ``no``, ``bf16`` or ``fp16``.
        checkpoint_seconds: time between two checkpoints.
        label: names the checkpoint and the progress.
        optimizer: ``adamw``, ``adam`` or ``sgd``.
        momentum: of sgd.
        evaluation_mode: train with the model in evaluation mode: batch normalisation uses and keeps its statistics.

    >>> options = TrainingOptions(steps=100, learning_rate=0.1, warmup_steps=10)
    >>> [round(options.rate(step), 4) for step in (0, 9, 50)]
    [0.01, 0.098, 0.05]
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_gradient_norm: float | None = 1.0
    ema_decay: float | None = None
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    checkpoint_seconds: float = 30.0
    label: str = "train"
    optimizer: Optimizer = "adamw"
    momentum: float = 0.9
    evaluation_mode: bool = False
    until: int | None = None

    @property
    def made(self) -> int:
        """How many of the steps are made."""
        return self.steps if self.until is None else min(self.until, self.steps)

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..., steps - 1."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / self.steps) if self.schedule == "cosine" else 1.0
        return self.learning_rate * warm * cosine


@dataclass(frozen=True)
class TrainingResult:
    """What a training did: the loss of every step, the step it continued from (0 if fresh), and its seconds."""

    losses: list[float]
    resumed_from: int
    seconds: float


def train(
    model: nn.Module,
    loss: Loss | Objective,
    options: TrainingOptions,
    *,
    seed: int,
    device: str = "cpu",
    work: Path | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train the parameters of ``model`` that require a gradient, in place.

    Under ``accelerate launch`` every process calls this with the same arguments; each computes its share of the batch.

    Args:
        loss: the mean loss of a batch; an :class:`~bdm_torch.objective.Objective` where there is more to it.
        seed: all randomness comes from it.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; under ``accelerate launch`` each process has its own.
        work: where the checkpoint is kept (``ctx.work``); None to keep none.
        progress: called as ``progress(label, done, total, loss)`` about every 25 steps; ``ctx.progress`` fits.

    Raises:
        StageError: the loss is no longer finite.
        UserError: the batch cannot be shared equally among the processes.
        PluginError: the plugin does not say ``distributed``, so that other processes of the launch do not train.

    >>> model = nn.Linear(1, 1)
    >>> x = torch.linspace(-1, 1, 32)[:, None]
    >>> def loss(model, draw):
    ...     rows = draw.rows(len(x))
    ...     return (model(x[rows]) - 3 * x[rows]).square().mean()
    >>> result = train(model, loss, TrainingOptions(steps=200, batch_size=8, learning_rate=0.1), seed=0)
    >>> len(result.losses), result.losses[-1] < 0.01, round(model.weight.item(), 1)
    (200, True, 3.0)
    """
    accelerator = accelerator_for(device, options.mixed_precision)
    world, rank = accelerator.num_processes, accelerator.process_index
    if options.made < 1 or options.batch_size < 1 or options.batch_size % world:
        raise UserError(
            f"training needs at least one step and a batch_size that is a multiple of the {world} processes, "
            f"not steps={options.steps}, batch_size={options.batch_size}"
        )
    share = slice(rank * options.batch_size // world, (rank + 1) * options.batch_size // world)
    model.to(accelerator.device)
    objective = loss if isinstance(loss, Objective) else Objective(loss)
    fused = accelerator.device.type in ("cpu", "cuda")
    optimizer = build_optimizer(model, options, fused)
    for one in objective.along.values():
        one.module.to(accelerator.device)
    others = {name: build_optimizer(one.module, one, fused) for name, one in objective.along.items()}
    optimizers, scaler = [optimizer, *others.values()], accelerator.scaler
    parameters: list[Tensor] = optimizer.param_groups[0]["params"]
    learnt = [*parameters, *(p for other in others.values() for p in other.param_groups[0]["params"])]
    average = [p.detach().clone() for p in parameters] if options.ema_decay is not None else []
    along = {name: (one.module, others[name]) for name, one in objective.along.items()}
    snapshot = Snapshot(model, optimizer, average, scaler, along, objective.state)
    identity = {**asdict(options), "seed": seed}
    del identity["checkpoint_seconds"]
    checkpoint = work / f"{options.label}.safetensors" if work is not None else None
    losses = read_checkpoint(checkpoint, snapshot, identity) if checkpoint is not None else []
    first = len(losses)
    bare = needs_no_wrapper(accelerator)
    wrapped = model if bare else accelerator.prepare(model)
    wrapped.train(not options.evaluation_mode)
    for one in objective.along.values():
        one.module.train(not options.evaluation_mode)
    started = saved = time.monotonic()
    pending: list[Tensor] = []
    cuda = [accelerator.device] if accelerator.device.type == "cuda" else []

    def backward() -> Tensor:
        _seed(step_seed(seed, step, f"dropout/{rank}"), accelerator.device.type)
        value = objective.loss(wrapped, Draw(seed, step, options.batch_size, accelerator.device, share))
        value.backward() if bare else accelerator.backward(value)
        return value.detach()

    def clear() -> None:
        for parameter in learnt:
            parameter.grad = None

    def optimise() -> None:
        if world > 1:
            for parameter in learnt[len(parameters) :]:
                if parameter.grad is not None:
                    parameter.grad = accelerator.reduce(parameter.grad, "mean")
        for one in optimizers if scaler is not None else []:
            scaler.unscale_(one)
        if options.max_gradient_norm is not None:
            clip_gradients(learnt, options.max_gradient_norm)
        for one in optimizers:  # with a scaler it steps unless a gradient is not finite
            one.step() if scaler is None else scaler.step(one)
        if scaler is not None:
            scaler.update()
        clear()

    with torch.random.fork_rng(devices=cuda):
        for step in range(first, options.made):
            optimizer.param_groups[0]["lr"] = options.rate(step)
            for name, one in objective.along.items():
                others[name].param_groups[0]["lr"] = replace(options, learning_rate=one.learning_rate).rate(step)
            if objective.step is None:
                value = backward()
                optimise()
            else:
                value = objective.step(Step(step, parameters, backward, clear, optimise))
            if objective.after_step is not None:
                objective.after_step(step)
            if options.ema_decay is not None:
                follow(average, parameters, min(options.ema_decay, (1 + step) / (10 + step)))
            pending.append(value)
            last = step + 1 == options.made
            if len(pending) == SYNCHRONISE_EVERY or last:
                losses += _finite(accelerator.reduce(torch.stack(pending), "mean").tolist(), step)
                pending.clear()
                if progress is not None and rank == 0:
                    progress(options.label, step + 1, options.made, losses[-1])
                due = last or time.monotonic() - saved >= options.checkpoint_seconds
                if checkpoint is not None and rank == 0 and due:
                    write_checkpoint(checkpoint, snapshot, losses, identity)
                    saved = time.monotonic()
    if not bare:
        accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    if average:
        with torch.no_grad():
            for parameter, mean in zip(parameters, average, strict=True):
                parameter.copy_(mean)
    clear()
    for module in (model, *(one.module for one in objective.along.values())):
        module.eval()
    return TrainingResult(losses, first, time.monotonic() - started)


def train_in_stage(
    ctx: Context,
    model: nn.Module,
    loss: Loss | Objective,
    options: TrainingOptions,
    *,
    label: str,
    curve: str = "loss",
) -> TrainingResult:
    """:func:`train` within a stage: seed, device, checkpoints and progress are the context's, the precision the kit's.

    Args:
        ctx: of the stage; it gets the losses as a curve.
        model: trained in place; it stays on the device.
        loss: see :data:`Loss`.
        options: of the training; precision and label are replaced.
        label: names the checkpoint and the progress.
        curve: names the curve.

    Raises:
        StageError, UserError, PluginError: as :func:`train`.

    >>> from bdm_core import Context
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> model, x = nn.Linear(1, 1), torch.ones(8, 1)
    >>> def loss(model, draw):
    ...     return model(x[draw.rows(len(x))]).square().mean()
    >>> train_in_stage(ctx, model, loss, TrainingOptions(steps=3, batch_size=4), label="mine").resumed_from
    0
    >>> train_in_stage(ctx, model, loss, TrainingOptions(steps=3, batch_size=4), label="mine").resumed_from
    3
    """
    options = replace(options, mixed_precision=getattr(ctx.kit, "mixed_precision", "no"), label=label)
    result = train(model, loss, options, seed=ctx.seed, device=ctx.device, work=ctx.work, progress=ctx.progress)
    ctx.curve(curve, result.losses)
    return result


def _seed(value: int, device_type: str) -> None:
    """Seed the generators of the CPU and of this device; `torch.manual_seed` looks after all kinds of devices."""
    torch.default_generator.manual_seed(value)
    if device_type == "cuda":
        torch.cuda.manual_seed(value)
    elif device_type == "mps":
        torch.mps.manual_seed(value)


def _finite(losses: list[float], step: int) -> list[float]:
    if not all(math.isfinite(value) for value in losses):
        raise StageError(f"the training loss is not finite near step {step + 1}: lower the learning rate")
    return losses
