"""The plugin ``defense:fst``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_fst.params import FstParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class Fst(Defense):
    """Feature shift tuning (Min et al. 2023): a new head, kept away from the given one, makes all features move."""

    name = "fst"
    summary = "Tunes the model under a new head of the same norm that is kept unlike the given one"
    paper = "https://arxiv.org/abs/2310.01875"
    tasks = frozenset({"image-classification"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = FstParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"epochs": 10, "batch_size": 128, "learning_rate": 0.01, "warmup": 0.0, "likeness": "inner-product"}
        | {"weight_decay": 0.0, "shift": 4, "flip": True, "strengths": [1.0]}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "learning_rate": 1e-3}
    distributed = True

    def check(self, params: FstParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        if len(params.strengths) > 1:  # with one, nothing is held out
            require_rows(self, clean_rows)

    @hookimpl
    def repair(self, ctx: Context, params: FstParams, model: Model, data: Data) -> Model:
        from bdm_defense_fst.repair import shift_features

        return shift_features(ctx, params, model, data)
