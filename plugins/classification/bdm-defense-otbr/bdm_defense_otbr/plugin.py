"""The plugin ``defense:otbr``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_otbr.params import OtbrParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class Otbr(Defense):
    """OTBR (Lin et al. 2025): what unlearning of noise changes most is pruned, and fused with the given model."""

    name = "otbr"
    summary = "Fuses a pruned model with the given one by optimal transport between their units"
    paper = "https://arxiv.org/abs/2408.15861"
    tasks = frozenset({"image-classification"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = OtbrParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"unlearning_steps": 20, "batch_size": 256, "unlearning_rate": 1e-4, "shares": [0.15]}
        | {"refresh": False, "balance": 0.5}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"unlearning_steps": 2, "batch_size": 8, "shares": [0.02, 0.05]}

    def check(self, params: OtbrParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        if len(params.shares) > 1:  # with one, nothing is held out
            require_rows(self, clean_rows)

    def check_model(self, params: OtbrParams, model: Model) -> None:
        """Refuse a model without convolutions."""
        from bdm_defense_otbr.repair import require_convolutions
        from bdm_kit_classification.models.classifier import load_classifier

        require_convolutions(load_classifier(model))

    @hookimpl
    def repair(self, ctx: Context, params: OtbrParams, model: Model, data: Data) -> Model:
        from bdm_defense_otbr.repair import fuse_with_pruned

        return fuse_with_pruned(ctx, params, model, data)
