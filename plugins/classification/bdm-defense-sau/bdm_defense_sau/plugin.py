"""The plugin ``defense:sau``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_sau.params import SauParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class Sau(Defense):
    """SAU (Wei et al. 2023): unlearns the adversarial examples that the given and the repaired model share."""

    name = "sau"
    summary = "Unlearns adversarial examples that fool the given and the repaired model alike"
    paper = "https://arxiv.org/abs/2307.10562"
    tasks = frozenset({"image-classification"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = SauParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"epochs": 100, "batch_size": 256, "optimizer": "adam", "learning_rate": 1e-4, "warmup": 0.0}
        | {"weight_decay": 0.0, "schedule": "constant", "strengths": [1.0]}
        | {"fool_weight": 0.01, "normalisation": "kept"}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "learning_rate": 1e-3, "search_steps": 1}

    def check(self, params: SauParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        if len(params.strengths) > 1:  # with one, nothing is held out
            require_rows(self, clean_rows)

    @hookimpl
    def repair(self, ctx: Context, params: SauParams, model: Model, data: Data) -> Model:
        from bdm_defense_sau.repair import unlearn_shared

        return unlearn_shared(ctx, params, model, data)
