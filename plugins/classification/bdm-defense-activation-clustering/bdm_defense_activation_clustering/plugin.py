"""The plugin ``defense:activation-clustering``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_defense_activation_clustering.params import ActivationClusteringParams
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class ActivationClustering(RowDetector):
    """Splits the activations of each class into two clusters; rows of the smaller one are suspected."""

    name = "activation-clustering"
    summary = "Two clusters of activations in each class: rows of the smaller one, if the two are well apart"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/1811.03728"
    Params = ActivationClusteringParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rule": "class", "reduction": "ica", "components": 10},
        "sound": {"reduction": "pca"},
        "texts": {"reduction": "pca", "components": 10},
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "components": 2}

    @hookimpl
    def detect(
        self, ctx: Context, params: ActivationClusteringParams, model: Model, data: Data, suspects: Data
    ) -> Detection:
        from bdm_defense_activation_clustering.detection import detect

        return detect(ctx, params, model, data, suspects)
