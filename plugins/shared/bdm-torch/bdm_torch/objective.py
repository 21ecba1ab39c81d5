"""What a training minimises, and how a step is made, where that is more than one loss of one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from bdm_torch.draws import Draw
from bdm_torch.optimizer import AdamW

Loss = Callable[[nn.Module, Draw], Tensor]
"""loss(model, draw): the mean loss over this process's share of the batch, a scalar with gradient."""
Optimizer = Literal["adamw", "adam", "sgd"]


@dataclass(frozen=True)
class Along:
    """A module that is trained along with the model, by the same loss and with an optimiser of its own.

    The loss reaches it as a closure; its gradients are averaged over the processes. Its learning rate follows the
    training's schedule. It is part of the checkpoint.

    Attributes:
        module: trained in place; parameters that require no gradient stay.
        learning_rate: its peak rate.
        optimizer: see :class:`bdm_torch.training.TrainingOptions`.
        momentum: of sgd.
        weight_decay: as of the training.
    """

    module: nn.Module
    learning_rate: float
    optimizer: Optimizer = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0


class Rates(Protocol):
    """What an optimiser is made of: :class:`Along` or :class:`bdm_torch.training.TrainingOptions`."""

    @property
    def optimizer(self) -> Optimizer: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def momentum(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...


def build_optimizer(module: nn.Module, rates: Rates, fused: bool) -> torch.optim.Optimizer | AdamW:
    """The optimiser of a module's parameters that require a gradient; all in one group."""
    chosen = [p for p in module.parameters() if p.requires_grad]
    if rates.optimizer == "adamw":
        return AdamW(chosen, learning_rate=rates.learning_rate, weight_decay=rates.weight_decay, fused=fused)
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[rates.optimizer]
    more = {"momentum": rates.momentum} if rates.optimizer == "sgd" else {}
    return kind(chosen, lr=rates.learning_rate, weight_decay=rates.weight_decay, fused=fused, **more)


@dataclass(frozen=True)
class Step:
    """One step, for a rule that makes it itself: sharpness-aware minimisation, alternation, ascent.

    Attributes:
        number: 0, 1, ...
        parameters: the model's, those that are trained.
        backward: forward and backward pass of this step's batch, always with the same draws; gradients add up in
            ``grad``. Returns the loss, detached.
        clear: forget the gradients, those of modules trained along too.
        optimise: clip the gradients, step all optimisers, forget the gradients.
    """

    number: int
    parameters: Sequence[Tensor]
    backward: Callable[[], Tensor]
    clear: Callable[[], None]
    optimise: Callable[[], None]


StepRule = Callable[[Step], Tensor]
"""rule(step): makes the step and returns its loss, detached. The default is ``backward`` and then ``optimise``."""


@dataclass(frozen=True)
class Objective:
    """A loss with what may come with it.

    Attributes:
        loss: the loss.
        along: modules trained along, by name.
        step: makes each step; None for a plain one.
        after_step: called with the step's number when the optimisers have stepped: to project or rescale weights.
        state: further tensors that the training changes in place, by name; they are part of the checkpoint.

    >>> from bdm_torch.training import TrainingOptions, train
    >>> model, mask = nn.Linear(1, 1), nn.Linear(1, 1)
    >>> objective = Objective(lambda model, draw: (model(torch.ones(4, 1)) + mask(torch.ones(4, 1))).square().mean(),
    ...                       along={"mask": Along(mask, learning_rate=0.1)})
    >>> train(model, objective, TrainingOptions(steps=200, learning_rate=0.1), seed=0).losses[-1] < 1e-3
    True
    """

    loss: Loss
    along: Mapping[str, Along] = field(default_factory=dict)
    step: StepRule | None = None
    after_step: Callable[[int], None] | None = None
    state: Mapping[str, Tensor] = field(default_factory=dict)
