"""The plugin ``metric:pre-activation``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_pre_activation.params import PreActivationParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Model, Subject


class PreActivationMetric(Metric):
    """Filters of the first convolutions that carry a backdoor, and how the trigger moves what they answer."""

    name = "pre-activation"
    summary = "Filters of the first convolutions that carry a backdoor, and how the trigger moves what they answer"
    tasks = frozenset({"text-to-image", "unconditional-image-generation"})
    paper = "https://openreview.net/forum?id=wwW-1k1ljIg"
    Params = PreActivationParams

    def check_model(self, params: PreActivationParams, model: Model) -> None:
        """Refuse what cannot be the clean model."""
        if not params.clean_model:
            return
        if model.task == "text-to-image":
            from bdm_kit_text_to_image.models.bases import require_base

            require_base(params.clean_model, model)
        else:
            from bdm_kit_diffusion.models.diffusion_model import load_model
            from bdm_metric_pre_activation.noise import clean_model

            clean_model(params.clean_model, load_model(model, "cpu"), "cpu")

    @hookimpl
    def score(self, ctx: Context, params: PreActivationParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_pre_activation.measure import measure

        return measure(ctx, params, subject)
