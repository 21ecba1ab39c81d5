"""The plugin ``defense:clp``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_clp.params import ClpParams
from bdm_kit_classification.defending.requirements import require_units

if TYPE_CHECKING:
    from bdm_core import Context, Model


class ChannelLipschitzPruning(Defense):
    """Prunes the channels of each layer whose bound on the Lipschitz constant stands out; needs no data."""

    name = "clp"
    summary = "Prunes channels whose Lipschitz bound stands out, without any data"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/2208.03111"
    level = "model"
    access = frozenset({"weights"})
    Params = ClpParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"deviations": 3.0}}
    tiny_params: ClassVar[dict[str, Any]] = {}

    def check_model(self, params: ClpParams, model: Model) -> None:
        """Refuse a model without units to prune."""
        require_units(self, model)
        from bdm_defense_clp.pruning import bounded_layers
        from bdm_kit_classification.models.classifier import load_classifier

        bounded_layers(load_classifier(model))

    @hookimpl
    def repair(self, ctx: Context, params: ClpParams, model: Model) -> Model:
        from bdm_defense_clp.pruning import prune

        return prune(ctx, params, model)
