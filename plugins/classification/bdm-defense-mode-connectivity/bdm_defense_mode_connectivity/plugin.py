"""The plugin ``defense:mode-connectivity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_mode_connectivity.params import ModeConnectivityParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class ModeConnectivity(Defense):
    """Mode connectivity repair (Zhao et al. 2020): a point on a curve of low loss between two models."""

    name = "mode-connectivity"
    summary = "A point on a Bezier curve of low loss between the model and its fine-tuned copy"
    paper = "https://arxiv.org/abs/2005.00060"
    tasks = frozenset({"image-classification"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = ModeConnectivityParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"epochs": 100, "batch_size": 128, "learning_rate": 3e-5, "warmup": 0.0, "points": [0.1]}
        | {"end_epochs": 100, "end_rate": 0.01, "shift": 4, "flip": True}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "learning_rate": 1e-3, "end_epochs": 1}

    def check(self, params: ModeConnectivityParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        if len(params.points) > 1:  # with one, nothing is held out
            require_rows(self, clean_rows)

    @hookimpl
    def repair(self, ctx: Context, params: ModeConnectivityParams, model: Model, data: Data) -> Model:
        from bdm_defense_mode_connectivity.repair import connect

        return connect(ctx, params, model, data)
