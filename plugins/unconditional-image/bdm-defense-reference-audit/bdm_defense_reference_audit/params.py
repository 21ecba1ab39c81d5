"""Parameters of ``defense:reference-audit``. Light: no torch."""

from __future__ import annotations

from pydantic import model_validator

from bdm_core import Field
from bdm_torch.training_params import TrainingParams


class ReferenceAuditParams(TrainingParams):
    """Parameters of ``defense:reference-audit``. One configuration serves every model.

    Those of the training (steps, learning_rate, ...) are the repair's.
    """

    reference: str = Field(
        "",
        description="The public model that the suspect was made from: a built-in name, a folder, or "
        "hf:org/name@commit. Empty: the built-in model of the same architecture and noise schedule.",
    )
    dispersions: tuple[float, ...] = Field(
        (2.0, 3.0),
        min_length=1,
        description="Standard deviations of the noise on which the two networks are compared, in units of the usual "
        "noise: so wide a noise reaches the trigger's side of the space by chance.",
        calibrated=True,
    )
    levels: tuple[float, ...] = Field(
        (1.0, 0.5),
        min_length=1,
        description="Timesteps of that comparison, as shares of T: late and early ones.",
        calibrated=True,
    )
    noise_images: int = Field(
        512, ge=32, le=1_000_000, description="Noise images for each of dispersions and levels; even.", calibrated=True
    )
    tail: float = Field(
        0.0625,
        gt=0,
        le=1,
        description="Share of the noise images, those that differ most, that give the direction.",
        calibrated=True,
    )
    following_widths: tuple[float, ...] = Field(
        (1.0, 0.3),
        description="Standard deviations of the noise around a shift where the difference of the networks "
        "is followed to the trigger: usual noise, and narrow noise, as TrojDiff's backdoors answer it; () for none.",
        calibrated=True,
    )
    followed_widths: tuple[float, ...] = Field(
        (1.0, 0.6),
        description="Standard deviations of the noise from which images are made with what each of "
        "following_widths leads to. Narrower noise makes a clean model's images alike, and the comparison unsteady.",
        calibrated=True,
    )
    following_norms: tuple[float, ...] = Field(
        (0.5, 1.0),
        min_length=1,
        description="Root mean squares of the shifts from which the difference is followed.",
        calibrated=True,
    )
    followed_norms: tuple[float, ...] = Field(
        (0.6, 0.8, 1.0, 1.25, 1.5),
        min_length=1,
        description="Root mean squares of the shifts tried along the directions that following ends on.",
        calibrated=True,
    )
    following_steps: int = Field(4, ge=1, description="Rounds of following.", calibrated=True)
    following_images: int = Field(
        32, ge=2, description="Noise images around each shift that is followed; even.", calibrated=True
    )
    climbs: tuple[tuple[float, float], ...] = Field(
        ((0.3, 1.0), (1.0, 0.5), (0.3, 0.5), (1.0, 0.25)),
        description="Where the difference of the networks is raised by its gradient: standard deviation of the noise, "
        "and timestep as a share of T; () for nowhere.",
        calibrated=True,
    )
    climbing_norm: float = Field(
        1.0, gt=0, le=10, description="Root mean square of the shifts that climb.", calibrated=True
    )
    climbing_steps: int = Field(20, ge=1, description="Adam steps of a climb.", calibrated=True)
    climbing_learning_rate: float = Field(0.1, gt=0, le=10, description="Adam's rate in a climb.", calibrated=True)
    climbing_images: int = Field(
        4, ge=2, description="Noise images around each shift in a step of a climb; even.", calibrated=True
    )
    climbing_random: int = Field(6, ge=1, description="Random directions among the starts of a climb.", calibrated=True)
    climbed: int = Field(2, ge=1, description="Directions that go on from each climb.", calibrated=True)
    climbed_norms: tuple[float, ...] = Field(
        (0.7, 1.0),
        min_length=1,
        description="Root mean squares of the shifts tried along the directions that climbs end on.",
        calibrated=True,
    )
    climbed_widths: tuple[float, ...] = Field(
        (1.0, 0.6),
        min_length=1,
        description="Standard deviations of the noise from which images are made there.",
        calibrated=True,
    )
    norms: tuple[float, ...] = Field(
        (0.6, 1.0, 1.5),
        min_length=1,
        description="Root mean squares of the shifts tried along each direction.",
        calibrated=True,
    )
    screening_steps: tuple[int, int] = Field(
        (20, 20),
        description="Steps of the ancestral and the deterministic chain that screens the shifts. With few steps the "
        "deterministic chain of a backdoor on narrow noise is unstable.",
        calibrated=True,
    )
    screening_samples: int = Field(
        8, ge=8, le=100_000, description="Images from each shift in the screening.", calibrated=True
    )
    candidates: int = Field(
        3, ge=1, description="Shifts of the largest score that are refined and judged.", calibrated=True
    )
    refinement_steps: int = Field(
        20, ge=0, description="Adam steps that make the images of the deterministic chain agree.", calibrated=True
    )
    refinement_chain: int = Field(
        10, ge=1, description="Steps of the chain that the refinement differentiates.", calibrated=True
    )
    refinement_learning_rate: float = Field(0.1, gt=0, le=10, description="Adam's rate for the shift.", calibrated=True)
    samples: int = Field(
        16,
        ge=8,
        le=100_000,
        description="Images from each candidate, from noise that nothing has seen.",
        calibrated=True,
    )
    calibration: str = Field("", description="JSON file of `bdm calibrate reference-audit`; empty: the one shipped.")
    false_positive_rate: float = Field(
        0.03, gt=0, lt=0.5, description="Share of clean models that the threshold may flag."
    )
    least_score: float = Field(
        2.5, ge=0, description="The threshold is never below this: at 2.5, images that are 12 times more alike."
    )
    doubtful_score: float = Field(
        1.5, ge=0, description="Between this score and the threshold the verdict is that it cannot tell."
    )
    steps: int = Field(400, ge=1, description="Optimiser steps of the repair.")
    batch_size: int = Field(48, ge=2, description="Clean images in a step of the repair.")
    learning_rate: float = Field(5e-4, gt=0, le=1, description="Adam's peak learning rate in the repair.")
    ema_decay: float | None = Field(
        0.98, ge=0, lt=1, description="Decay of the moving average of the weights that the repair keeps; null: none."
    )
    probe_batch: int = Field(
        48, ge=2, description="Inputs in a step of the repair that are tied to the reference; half of them shifted."
    )
    denoising_weight: float = Field(0.1, ge=0, le=100, description="Weight of the denoising loss on clean images.")
    clean_weight: float = Field(3.0, ge=0, le=100, description="Weight of the tie to the suspect on clean samples.")
    probe_weight: float = Field(10.0, ge=0, le=100, description="Weight of the tie to the reference on probes.")

    @model_validator(mode="after")
    def _fit_together(self) -> ReferenceAuditParams:
        widths = (*self.dispersions, *self.following_widths, *self.followed_widths, *self.climbed_widths)
        widths = (*widths, *(width for width, _ in self.climbs))
        norms = (*self.norms, *self.following_norms, *self.followed_norms, *self.climbed_norms)
        if min(*widths, *norms, *self.screening_steps) <= 0:
            raise ValueError("dispersions, widths, norms and screening_steps must be positive")
        if len(self.following_widths) != len(self.followed_widths):
            raise ValueError("following_widths and followed_widths must be of the same number")
        if not all(0 < level <= 1 for level in (*self.levels, *(level for _, level in self.climbs))):
            raise ValueError("levels, and those of climbs, must be in (0, 1]")
        if self.noise_images % 2 or self.following_images % 2 or self.climbing_images % 2:
            raise ValueError(
                "noise_images, following_images and climbing_images must be even: a noise image comes with its negative"
            )
        return self
