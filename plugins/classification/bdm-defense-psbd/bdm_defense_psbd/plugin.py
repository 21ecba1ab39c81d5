"""The plugin ``defense:psbd``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_defense_psbd.params import PsbdParams
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Psbd(RowDetector):
    """Drops activations at random and sees whose predictions shift; those of poisoned rows are to stay."""

    name = "psbd"
    summary = "Shift of predictions under dropout: poisoned rows are to keep theirs (PSBD)"
    paper = "https://arxiv.org/abs/2406.05826"
    Params = PsbdParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "passes": 3,
            "wanted_shift": 0.8,
            "layers": "all",
            "false_positive_rate": 0.25,
            "checkpoint_epochs": 95,
            "epochs": 100,
            "batch_size": 128,
            "learning_rate": 0.1,
            "weight_decay": 1e-4,
            "warmup": 0.0,
            "shift": 4,
            "flip": True,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "rates": [0.5]}

    def check_model(self, params: PsbdParams, model: Model) -> None:
        """Refuse a model without layers to drop activations of."""
        from bdm_defense_psbd.detection import layers_of
        from bdm_kit_classification.models.classifier import load_classifier

        layers_of(load_classifier(model), params.layers)

    @hookimpl
    def detect(self, ctx: Context, params: PsbdParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_psbd.detection import detect

        return detect(ctx, params, model, data, suspects)
