"""The plugin ``defense:clp-swept``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_clp.params import SweptClpParams
from bdm_kit_classification.defending.requirements import require_rows, require_units

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class SweptChannelLipschitzPruning(Defense):
    """The same bound as ``clp``, with a threshold that held-out clean rows choose: no longer without data."""

    name = "clp-swept"
    summary = "Prunes channels whose Lipschitz bound stands out, as many as clean rows allow"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/2208.03111"
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = SweptClpParams
    tiny_params: ClassVar[dict[str, Any]] = {}

    def check(self, params: SweptClpParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    def check_model(self, params: SweptClpParams, model: Model) -> None:
        """Refuse a model without units to prune."""
        require_units(self, model)
        from bdm_defense_clp.pruning import bounded_layers
        from bdm_kit_classification.models.classifier import load_classifier

        bounded_layers(load_classifier(model))

    @hookimpl
    def repair(self, ctx: Context, params: SweptClpParams, model: Model, data: Data) -> Model:
        from bdm_defense_clp.pruning import prune_swept

        return prune_swept(ctx, params, model, data)
