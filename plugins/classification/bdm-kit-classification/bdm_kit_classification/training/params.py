"""Parameters of a training of a classifier. Light: no torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from bdm_core.plugin import Field, Params

if TYPE_CHECKING:
    from bdm_torch.training import TrainingOptions


class ClassifierTraining(Params):
    """How a classifier is trained: base of the parameters of attacks and defenses that do so.

    >>> ClassifierTraining(epochs=2, batch_size=50).steps(rows=101)
    6
    """

    epochs: int = Field(
        10,
        ge=1,
        le=100_000,
        description="Epochs of ceil(rows / batch_size) full batches: each row is used once, some twice.",
    )
    batch_size: int = Field(64, ge=2, le=1_000_000, description="Rows a step, over all processes.")
    optimizer: Literal["auto", "sgd", "adam", "adamw"] = Field(
        "auto",
        description="The optimiser; auto: sgd for pictures and sound, adamw for texts, the learning rate times .04 for "
        "the kit's own networks and times .001 for those of transformers.",
    )
    learning_rate: float = Field(0.05, gt=0, le=10, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd.")
    weight_decay: float = Field(5e-4, ge=0, le=1, description="Decay of the weights.")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="Learning rate after the warm-up: cosine falls to 0 at the last step."
    )
    warmup: float = Field(0.1, ge=0, le=1, description="Share of the steps with a linear warm-up.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of each label given to all classes alike.")
    max_gradient_norm: float | None = Field(None, gt=0, description="Gradients are clipped to this norm; null: never.")
    ema_decay: float | None = Field(
        None, ge=0, lt=1, description="Decay of the moving average of the weights that is kept in the end; null: none."
    )
    shift: int = Field(
        0,
        ge=0,
        le=64,
        description="Training pictures are shifted by up to so many pixels at random, recordings by so many hundredths "
        "of their length.",
    )
    flip: bool = Field(False, description="Half of the training pictures are mirrored at random.")

    def steps(self, rows: int) -> int:
        """Optimiser steps for so many training rows."""
        return self.epochs * math.ceil(rows / self.batch_size)

    def options(
        self, rows: int, suited: tuple[Literal["sgd", "adam", "adamw"], float] = ("sgd", 1.0)
    ) -> TrainingOptions:
        """These as options of :func:`bdm_torch.training.train`; the precision is the kit's to say.

        Args:
            rows: how many there are.
            suited: the optimiser that ``auto`` stands for, and what the learning rate is multiplied by then.
        """
        from bdm_torch.training import TrainingOptions

        steps = self.steps(rows)
        optimizer, factor = suited if self.optimizer == "auto" else (self.optimizer, 1.0)
        return TrainingOptions(
            steps=steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate * factor,
            schedule=self.schedule,
            warmup_steps=round(self.warmup * steps),
            weight_decay=self.weight_decay,
            max_gradient_norm=self.max_gradient_norm,
            ema_decay=self.ema_decay,
            optimizer=optimizer,
            momentum=self.momentum,
        )


class VictimTraining(ClassifierTraining):
    """How an attack's victim is trained; attacks inherit it."""

    start: Literal["scratch", "model"] = Field(
        "scratch",
        description="Where training starts: scratch: the model's architecture, new weights; model: the clean model.",
    )
