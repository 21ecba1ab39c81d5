"""The plugin ``defense:i-bau``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_i_bau.params import IBauParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class IBau(Defense):
    """I-BAU (Zeng et al. 2022): the model unlearns the universal perturbation that fools it most, round by round."""

    name = "i-bau"
    summary = "Unlearns a universal perturbation by implicit hyper-gradients"
    paper = "https://arxiv.org/abs/2110.03735"
    tasks = frozenset({"image-classification"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = IBauParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"epochs": 5, "batch_size": 100, "optimizer": "adam", "learning_rate": 1e-4, "schedule": "constant"}
        | {"warmup": 0.0, "weight_decay": 0.0, "max_gradient_norm": None, "radius": 0.1804, "inner_passes": 1}
        | {"clean_weight": 0.0, "strengths": [1.0]}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "learning_rate": 1e-4, "inner_passes": 1}

    def check(self, params: IBauParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        if len(params.strengths) > 1:  # with one, nothing is held out
            require_rows(self, clean_rows)

    @hookimpl
    def repair(self, ctx: Context, params: IBauParams, model: Model, data: Data) -> Model:
        from bdm_defense_i_bau.repair import unlearn_perturbation

        return unlearn_perturbation(ctx, params, model, data)
