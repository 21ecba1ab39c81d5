"""The plugin ``defense:npd``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_npd.params import NpdParams
from bdm_kit_classification.defending.requirements import require_norms, require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class Npd(Defense):
    """Neural Polarizer (Zhu et al. 2023): one linear layer, inserted before a deep one, learns to block triggers."""

    name = "npd"
    summary = "Inserts a linear layer before a deep one that blocks what triggers do to features"
    paper = "https://arxiv.org/abs/2306.16697"
    tasks = frozenset({"image-classification"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = NpdParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"epochs": 50, "batch_size": 128, "learning_rate": 0.01, "warmup": 0.0, "schedule": "constant"}
        | {"radius": 0.0541, "targets": "second-best", "search_steps": 2, "search_size": 1.0, "strengths": [1.0]}
        | {"clean_weight": 1.0, "recover_weight": 0.4, "avoid_weight": 0.4, "boost_weight": 0.4, "consist_weight": 0.0}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "learning_rate": 1e-3, "search_steps": 1}

    def check(self, params: NpdParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        if len(params.strengths) > 1:  # with one, nothing is held out
            require_rows(self, clean_rows)

    def check_model(self, params: NpdParams, model: Model) -> None:
        """Refuse a model without batch normalisation, unless a layer is named, and one without a fitting layer."""
        if not params.layer:
            require_norms(self, model)
        from bdm_defense_npd.repair import place_of
        from bdm_kit_classification.models.classifier import load_classifier

        place_of(load_classifier(model), params.layer)

    @hookimpl
    def repair(self, ctx: Context, params: NpdParams, model: Model, data: Data) -> Model:
        from bdm_defense_npd.repair import polarise

        return polarise(ctx, params, model, data)
