"""The plugin ``metric:target``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import field_validator

from bdm_core.plugin import Field, Params, Plugin, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Measurement, Subject
    from bdm_core.context import Context


class TargetParams(Params):
    """Parameters of ``metric:target``."""

    thresholds: tuple[float, ...] = Field(
        (0.05, 0.1),
        min_length=1,
        description="A sample counts as the target if its mean squared error, pixels in [0, 1], is below this. "
        "Each threshold gives one attack success rate; the first one also decides the leak.",
    )
    histogram_bins: int = Field(40, ge=2, le=1000, description="Bins of the histogram of errors in [0, 1].")
    lpips: bool = Field(
        False, description="Also measure LPIPS (AlexNet); needs the extra bdm-metric-target[lpips] and its weights."
    )

    @field_validator("thresholds")
    @classmethod
    def _inside_the_unit_interval(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < threshold <= 1 for threshold in thresholds):
            raise ValueError("every threshold lies in (0, 1]")
        return thresholds


class TargetMetric(Plugin):
    """Mean squared error, structural similarity, attack success rate and leak."""

    kind, name = "metric", "target"
    summary = "How close samples are to the attack's target: MSE, SSIM, attack success rate, leak"
    tasks = frozenset({"unconditional-image-generation", "text-to-image"})
    paper = "https://arxiv.org/abs/2306.06874"
    Params = TargetParams

    @hookimpl
    def score(self, ctx: Context, params: TargetParams, subject: Subject) -> list[Measurement]:
        if subject.secret.format == "prompt-secret":
            from bdm_metric_target.prompts import measure_prompts

            return measure_prompts(ctx, params, subject)
        from bdm_kit_diffusion.target_classes import target_class
        from bdm_metric_target.measure import measure

        if (target := target_class(subject.secret)) is not None:
            from bdm_metric_target.classes import measure_class

            return measure_class(ctx, subject, target)
        return measure(ctx, params, subject)
