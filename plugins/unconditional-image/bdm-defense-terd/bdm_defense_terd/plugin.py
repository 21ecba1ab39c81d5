"""The plugin ``defense:terd``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bdm_core.plugin import Field, Plugin, hookimpl
from bdm_kit_diffusion.removal_params import RemovalParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Detection, Model
    from bdm_core.context import Context


class TerdParams(RemovalParams):
    """Parameters of ``defense:terd``. One configuration serves every model: nothing here depends on the attack.

    Those of the training (steps, learning_rate, ...) are the removal's.
    """

    starts: tuple[str, ...] = Field(
        ("-U(0,1)", "U(0,1)", "U(-1,1)"),
        min_length=1,
        description="Where the estimation starts: names from the kit's library of start points; -U(0,1) is published.",
    )
    estimation_steps: int = Field(200, ge=0, description="Steps of stage 1, on x_0 ~ N(0, I).")
    refinement_steps: int = Field(20, ge=0, description="Steps of stage 2, on what the model itself paints.")
    pairs: int = Field(4, ge=1, description="Pairs of noise a step, for each start.")
    refinement_pairs: int = Field(2, ge=1, description="Likewise in stage 2.")
    estimation_learning_rate: float = Field(0.5, gt=0, le=100, description="SGD's rate for the trigger.")
    deviation_learning_rate: float = Field(
        0.1, ge=0, le=10, description="SGD's rate for gamma, the noise's standard deviation under the trigger."
    )
    first_deviation: float = Field(0.0, ge=0, le=2, description="Where gamma starts, at every pixel.")
    norm_weight: float = Field(5e-5, ge=0, description="Weight of -||r||_1, which keeps the trigger from 0.")
    largest_gradient: float = Field(
        0.1, gt=0, description="In stage 2 the gradient of the trigger is clipped to this norm."
    )
    window: float = Field(
        0.03, gt=0, le=0.5, description="Share of the timesteps, at least one, that count as the last (and the first)."
    )
    chain: int = Field(10, ge=1, description="DDIM steps of the chain that stage 2 differentiates.")
    evaluation_pairs: int = Field(
        64, ge=8, description="Pairs of noise on which the estimates are compared with the start and the zero trigger."
    )
    samples: int = Field(16, ge=8, description="Images generated from the trigger and from each start, as evidence.")
    calibration: str = Field(
        "", description="JSON file of `python -m bdm_defense_terd.calibrate`; empty: the one shipped."
    )
    false_positive_rate: float = Field(
        0.01, gt=0, lt=0.5, description="Share of clean models that the threshold may flag."
    )


PAPER: dict[str, Any] = {
    "starts": ("-U(0,1)",), "estimation_steps": 3000, "refinement_steps": 1000, "pairs": 16, "refinement_pairs": 16,
    "estimation_learning_rate": 0.5, "deviation_learning_rate": 1e-3, "largest_gradient": 0.01, "window": 0.01,
    "steps": 430, "batch_size": 128, "learning_rate": 2e-4, "ema_decay": None, "anchors": "published",
    "trigger_batch": 128, "denoising_weight": 1.0, "trigger_weight": 1.0,
}  # fmt: skip
"""The published numbers; the removal is Elijah's."""


class Terd(Plugin):
    """Estimates the trigger from pairs of noise, decides by how far it moves the noise, and trains it away."""

    kind, name = "defense", "terd"
    summary = "Estimate the trigger from pairs of noise, judge the model by its divergence, train the trigger away"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2409.05294"
    level = "model"
    distributed = True
    Params = TerdParams
    presets = {"paper": PAPER}

    @hookimpl
    def detect(self, ctx: Context, params: TerdParams, model: Model) -> Detection:
        from bdm_defense_terd.detection import detect

        return detect(ctx, params, model)

    @hookimpl
    def repair(self, ctx: Context, params: TerdParams, model: Model, data: Data, detection: Detection | None) -> Model:
        from bdm_defense_terd.repair import repair

        return repair(ctx, params, model, data, detection)
