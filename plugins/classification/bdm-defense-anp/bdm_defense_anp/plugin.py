"""The plugin ``defense:anp``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_anp.params import AnpParams
from bdm_kit_classification.defending.requirements import require_rows, require_units

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class AdversarialNeuronPruning(Defense):
    """Learns a mask over units under adversarial changes of them, and prunes those it closes."""

    name = "anp"
    summary = "Prunes units by masks that withstand adversarial changes of weights"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/2110.14430"
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = AnpParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "steps": 2000,
            "batch_size": 128,
            "learning_rate": 0.2,
            "radius": 0.4,
            "trade_off": 0.2,
            "threshold": 0.2,
            "keep_bias": True,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {"steps": 2, "batch_size": 10}

    def check(self, params: AnpParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    def check_model(self, params: AnpParams, model: Model) -> None:
        """Refuse a model without units to prune."""
        require_units(self, model)

    @hookimpl
    def repair(self, ctx: Context, params: AnpParams, model: Model, data: Data) -> Model:
        from bdm_defense_anp.pruning import prune

        return prune(ctx, params, model, data)
