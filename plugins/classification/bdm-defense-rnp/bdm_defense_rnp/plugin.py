"""The plugin ``defense:rnp``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_rnp.params import RnpParams
from bdm_kit_classification.defending.requirements import require_norms, require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class ReconstructiveNeuronPruning(Defense):
    """Unlearns the clean rows, then learns a mask that recovers them, and prunes the units it closes."""

    name = "rnp"
    summary = "Unlearns clean data, recovers it by a mask over units, and prunes what the mask closes"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2305.14876"
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = RnpParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "unlearn_epochs": 20,
            "unlearn_learning_rate": 0.01,
            "recover_epochs": 20,
            "batch_size": 128,
            "learning_rate": 0.04,
            "threshold": 0.7,
            "keep_bias": True,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {"unlearn_epochs": 1, "recover_epochs": 1, "batch_size": 10}

    def check(self, params: RnpParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    def check_model(self, params: RnpParams, model: Model) -> None:
        """Refuse a model without batch normalisation."""
        require_norms(self, model)

    @hookimpl
    def repair(self, ctx: Context, params: RnpParams, model: Model, data: Data) -> Model:
        from bdm_defense_rnp.pruning import prune

        return prune(ctx, params, model, data)
