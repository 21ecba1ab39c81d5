"""Parameters of ``defense:diff-cleanse``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from bdm_core import Field
from bdm_torch.training_params import TrainingParams


class DiffCleanseParams(TrainingParams):
    """Parameters of ``defense:diff-cleanse``. One configuration serves every model: nothing here depends on the attack.

    Those of the training (steps, learning_rate, ...) are those of the fine-tuning after the pruning.
    """

    starts: Literal["library", "published"] = Field(
        "library",
        description="Patterns that the inversion may start from. published: random ones; library: also constants, "
        "boxes, a frame, checkers and stripes.",
        calibrated=True,
    )
    samplers: tuple[str, ...] = Field(
        ("ddim", "ddpm"),
        min_length=1,
        description="Samplers that generate images; each has patterns of its own.",
        calibrated=True,
    )
    epochs: tuple[int, ...] = Field(
        (20, 4),
        min_length=1,
        description="Steps of the inversion at most, one number for each of samplers.",
        calibrated=True,
    )
    candidates: int = Field(
        2,
        ge=1,
        description="So many starts, those whose images are most alike, are optimised with each sampler.",
        calibrated=True,
    )
    samples: int = Field(16, ge=4, le=64, description="Images generated from each pattern, N.", calibrated=True)
    sampling_steps: int = Field(0, ge=0, description="Steps of each sampler; 0 is its usual number.", calibrated=True)
    inverting_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the sampling steps that deterministic samplers take while a pattern is inverted; starts "
        "and results are judged with all of them. 0.5 makes the inversion twice as fast. Empty: all.",
        calibrated=True,
    )
    similarity: float = Field(
        0.97,
        gt=0,
        lt=1,
        description="Two images are similar if the cosine of their pixels in [0, 1] is above.",
        calibrated=True,
    )
    reach: float = Field(
        1.5, gt=0, le=10, description="Largest absolute value that a pattern may add to the noise.", calibrated=True
    )
    pattern_learning_rate: float = Field(
        0.1, gt=0, le=10, description="Adam's rate for the pattern, in [0, 1].", calibrated=True
    )
    gradient_scale: float = Field(
        1000.0,
        gt=0,
        description="The images' gradient is multiplied by it before it becomes the pattern's.",
        calibrated=True,
    )
    entropy_band: tuple[float, float] = Field(
        (0.8, 6.0), description="Entropy of an image's pixel values, in bits, that is not penalised.", calibrated=True
    )
    entropy_weight: float = Field(
        10.0,
        ge=0,
        description="Weight of the penalty outside the band; twice it while no two images are similar.",
        calibrated=True,
    )
    range_margin: float = Field(
        0.05,
        ge=0,
        lt=0.5,
        description="Values of the pattern that are nearer to 0 or 1 are penalised.",
        calibrated=True,
    )
    calibration: str = Field("", description="JSON file of `bdm calibrate diff-cleanse`; empty: the one shipped.")
    false_positive_rate: float = Field(
        0.01, gt=0, lt=0.5, description="Share of clean models that the threshold may flag."
    )
    least_score: float = Field(
        0.5, ge=0, lt=1, description="The threshold is never below this: at 0.5, half of the images must be similar."
    )
    pruning_rule: Literal["sum", "difference"] = Field(
        "difference",
        description="Channels are removed where this is highest: sum: importance for clean images plus that for the "
        "trigger, as released; difference: that for the trigger minus that for clean images, as described.",
    )
    pruned_share: float = Field(0.03, ge=0, lt=0.5, description="Share of the channels to remove, over all layers.")
    importance_batches: int = Field(8, ge=1, description="Batches that the importance is summed over.")
    importance_start: float = Field(
        0.9, ge=0, lt=1, description="The importance counts at timesteps from this share of all on."
    )
    steps: int = Field(150, ge=1, description="Optimiser steps of the fine-tuning.")
    batch_size: int = Field(48, ge=1, description="Clean images in a step.")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Adam's peak learning rate in the fine-tuning.")
    ema_decay: float | None = Field(
        0.98, ge=0, lt=1, description="Decay of the moving average of the weights that is kept; null: none."
    )
    distillation_weight: float = Field(
        0.0, ge=0, le=100, description="Weight of the tie to the model as it was, on clean noisy images."
    )

    @model_validator(mode="after")
    def _fit_together(self) -> DiffCleanseParams:
        if len(self.epochs) != len(self.samplers):
            raise ValueError("epochs needs one number for each of samplers")
        if any(count < 0 for count in self.epochs) or self.entropy_band[0] > self.entropy_band[1]:
            raise ValueError("epochs must be at least 0, and entropy_band goes from low to high")
        return self
