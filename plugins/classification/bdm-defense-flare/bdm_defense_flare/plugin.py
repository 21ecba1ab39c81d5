"""The plugin ``defense:flare``."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_core.errors import UserError
from bdm_defense_flare.params import MISSING_UMAP, FlareParams
from bdm_kit_classification.defending.requirements import require_norms, require_rows
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Flare(RowDetector):
    """Looks at how extreme each row's activations are in every batch normalisation; poisoned rows lie together."""

    name = "flare"
    summary = "Extreme activations in all batch normalisations, and the rows that lie together in them (FLARE)"
    paper = "https://arxiv.org/abs/2411.19479"
    Params = FlareParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "rule": "tree",
            "numbers": "likelihoods",
            "embedding": "umap",
            "smallest_cluster": 100,
            "neighbours": 100,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "smallest_cluster": 5}

    def check(self, params: FlareParams, clean_rows: int) -> None:
        """Refuse too few clean rows, and UMAP where it is not installed."""
        if params.rule == "reserve":  # the other rules hold nothing out
            require_rows(self, clean_rows)
        elif params.embedding == "umap" and importlib.util.find_spec("umap") is None:
            raise UserError(MISSING_UMAP)

    def check_model(self, params: FlareParams, model: Model) -> None:
        """Refuse a model without so many batch normalisations."""
        require_norms(self, model, params.last_layers_left_out + 1)

    @hookimpl
    def detect(self, ctx: Context, params: FlareParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_flare.detection import detect

        return detect(ctx, params, model, data, suspects)
