"""The plugin ``defense:retrain``."""

from __future__ import annotations

from typing import Any, ClassVar

from bdm_defense_retrain.params import RetrainParams
from bdm_kit_classification.defending.row_detector import RowDetector


class Retrain(RowDetector):
    """Trains the model's architecture from new weights without the rows that another plugin flagged."""

    name = "retrain"
    summary = "Train from scratch without the rows that a detector flagged: the repair behind every filter"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    access = frozenset({"weights", "training-data"})
    Params = RetrainParams
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10}
