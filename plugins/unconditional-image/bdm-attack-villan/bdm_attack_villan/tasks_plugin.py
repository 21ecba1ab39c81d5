"""The plugin ``metric:villan-tasks``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_core.plugin import Field, Params, Plugin, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Measurement, Subject
    from bdm_core.context import Context

Task = Literal["denoise", "inpaint-box", "inpaint-line"]


class VillanTasksParams(Params):
    """Parameters of ``metric:villan-tasks``."""

    restore: tuple[Task, ...] = Field(
        ("denoise", "inpaint-box", "inpaint-line"),
        min_length=1,
        description="What to restore: images with noise, with a box in the middle or a line cut out.",
    )
    images: int = Field(64, ge=2, description="Training images to restore, the first ones.")
    noise: float = Field(0.3, ge=0, le=10, description="Deviation of the noise of denoise, in units of [-1, 1].")
    multiplier: float = Field(1.0, gt=0, le=10, description="The chain starts from so many times the damaged image.")
    sampler: str | None = Field(None, description="Sampler; by default the plain one of the backdoor's class.")
    steps: int | None = Field(None, ge=1, description="Sampling steps; by default the sampler's usual number.")
    threshold: float = Field(0.05, gt=0, lt=1, description="Restored images this near to the target (MSE) are hits.")


class VillanTasks(Plugin):
    """Restores damaged images with and without the trigger, by running the chain from them (VillanDiffusion)."""

    kind, name = "metric", "villan-tasks"
    summary = "Denoising and inpainting from damaged images, with the trigger and without (VillanDiffusion)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2306.06874"
    Params = VillanTasksParams

    @hookimpl
    def score(self, ctx: Context, params: VillanTasksParams, subject: Subject) -> list[Measurement]:
        from bdm_attack_villan.tasks import measure

        return measure(ctx, params, subject)
