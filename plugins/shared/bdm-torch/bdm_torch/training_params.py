"""The parameters of a training, for every plugin that trains a diffusion model. Light: no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_core.plugin import Field, Params

if TYPE_CHECKING:
    from bdm_torch.training import TrainingOptions


class TrainingParams(Params):
    """Steps, batch size, learning rate and the like, as Adam takes them; a plugin sets its own defaults.

    >>> class MineParams(TrainingParams):
    ...     steps: int = Field(300, ge=1, description="Optimiser steps.")
    >>> MineParams(batch_size=32).options().steps
    300
    """

    steps: int = Field(700, ge=1, le=100_000_000, description="Optimiser steps.")
    batch_size: int = Field(128, ge=1, le=1_000_000, description="Samples a step, over all processes.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Adam's peak learning rate.")
    learning_rate_schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="After the warm-up: cosine falls to 0 at the last step."
    )
    warmup_steps: int = Field(25, ge=0, description="Steps of the linear warm-up of the learning rate.")
    weight_decay: float = Field(0.0, ge=0, le=1, description="AdamW's decoupled decay of the weights.")
    max_gradient_norm: float | None = Field(1.0, gt=0, description="Gradients are clipped to this norm; null: never.")
    ema_decay: float | None = Field(
        0.995, ge=0, lt=1, description="Decay of the moving average of the weights that is kept in the end; null: none."
    )

    def options(self) -> TrainingOptions:
        """These as options of :func:`bdm_torch.training.train`; the precision is the kit's to say."""
        from bdm_torch.training import TrainingOptions

        return TrainingOptions(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            schedule=self.learning_rate_schedule,
            warmup_steps=self.warmup_steps,
            weight_decay=self.weight_decay,
            max_gradient_norm=self.max_gradient_norm,
            ema_decay=self.ema_decay,
        )
