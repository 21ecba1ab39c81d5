"""The plugin ``defense:ep``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_ep.params import EpParams
from bdm_kit_classification.defending.requirements import require_norms, require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class EntropyPruning(Defense):
    """Prunes the units whose pre-activations on the training rows have the entropy of a mixture."""

    name = "ep"
    summary = "Prunes units whose pre-activations on the training data have a low entropy"
    tasks = frozenset({"image-classification"})
    paper = "https://openreview.net/forum?id=wwW-1k1ljIg"
    level = "model"
    access = frozenset({"weights", "clean-data", "training-data"})
    Params = EpParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"deviations": 3.0, "pooling": "max", "rows": 1_000_000}}
    tiny_params: ClassVar[dict[str, Any]] = {}

    def check(self, params: EpParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    def check_model(self, params: EpParams, model: Model) -> None:
        """Refuse a model without batch normalisation."""
        require_norms(self, model)

    @hookimpl
    def repair(self, ctx: Context, params: EpParams, model: Model, data: Data, training_data: Data) -> Model:
        from bdm_defense_ep.pruning import prune

        return prune(ctx, params, model, data, training_data)
