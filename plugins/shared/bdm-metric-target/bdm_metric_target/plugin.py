"""The plugin ``metric:target``."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from bdm_core import Metric, UserError, hookimpl
from bdm_metric_target.params import EXTRA, TargetParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Model, Subject


class TargetMetric(Metric):
    """Mean squared error, structural similarity, attack success rate and leak."""

    name = "target"
    summary = "How close samples are to the attack's target: MSE, SSIM, attack success rate, leak"
    tasks = frozenset({"unconditional-image-generation", "text-to-image"})
    paper = "https://arxiv.org/abs/2306.06874"
    Params = TargetParams

    def check_model(self, params: TargetParams, model: Model) -> None:
        """Refuse LPIPS where it is not installed."""
        if params.lpips and importlib.util.find_spec("torchvision") is None:
            raise UserError(f"LPIPS cannot run (torchvision is not installed): {EXTRA}")

    @hookimpl
    def score(self, ctx: Context, params: TargetParams, subject: Subject) -> list[Measurement]:
        if subject.secret.format == "prompt-secret":
            from bdm_metric_target.prompts import measure_prompts

            return measure_prompts(ctx, params, subject)
        from bdm_kit_diffusion.poison.secret_facts import read_facts
        from bdm_metric_target.measure import measure

        if (target := read_facts(subject.secret).target_class) is not None:
            from bdm_metric_target.classes import measure_class

            return measure_class(ctx, subject, target)
        return measure(ctx, params, subject)
