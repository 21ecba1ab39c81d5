"""The plugin ``defense:gradient-norm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_gradient_norm.params import GradientNormParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class GradientNorm(Defense):
    """GN-FT (Zhou et al. 2025): backdoored neurons have large gradients, and a penalty on them weakens them."""

    name = "gradient-norm"
    summary = "GN-FT: fine-tuning on clean data with a penalty on the norm of the gradient"
    paper = "https://arxiv.org/abs/2502.01152"
    tasks = frozenset({"audio-classification"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = GradientNormParams
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "learning_rate": 1e-3}
    distributed = True

    @hookimpl
    def repair(self, ctx: Context, params: GradientNormParams, model: Model, data: Data) -> Model:
        from bdm_defense_gradient_norm.repair import tune_penalised

        return tune_penalised(ctx, params, model, data)
