"""The plugin ``defense:bnp``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_bnp.params import BnpParams
from bdm_kit_classification.defending.requirements import require_norms, require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class BatchNormPruning(Defense):
    """Prunes the units whose statistics in training and on clean rows diverge."""

    name = "bnp"
    summary = "Prunes units whose stored statistics differ from those of clean data"
    tasks = frozenset({"image-classification"})
    paper = "https://openreview.net/forum?id=wwW-1k1ljIg"
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = BnpParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"deviations": 3.0}}
    tiny_params: ClassVar[dict[str, Any]] = {}

    def check(self, params: BnpParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    def check_model(self, params: BnpParams, model: Model) -> None:
        """Refuse a model without batch normalisation."""
        require_norms(self, model)

    @hookimpl
    def repair(self, ctx: Context, params: BnpParams, model: Model, data: Data) -> Model:
        from bdm_defense_bnp.pruning import prune

        return prune(ctx, params, model, data)
