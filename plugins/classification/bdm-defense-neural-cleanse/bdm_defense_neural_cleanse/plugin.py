"""The plugin ``defense:neural-cleanse``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_neural_cleanse.params import NeuralCleanseParams
from bdm_kit_classification.catalogue import IMAGE_TASK
from bdm_kit_classification.defending.requirements import require_classes
from bdm_kit_classification.inversion.params import FEWEST_CLASSES
from bdm_kit_classification.tasks.audio import AUDIO_TASK

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class NeuralCleanse(Defense):
    """Inverts a trigger for each class, judges by the smallest, and trains it away."""

    name = "neural-cleanse"
    summary = "Invert a trigger for each class, flag the model whose smallest mask is an outlier, unlearn or prune"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://doi.org/10.1109/SP.2019.00031"
    level = "model"
    access = frozenset({"weights", "clean-data"})
    least_clean_models = 3
    Params = NeuralCleanseParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "epochs": 1,
            "batch_size": 32,
            "inversion_steps": 31_000,
            "check_every": 31,
            "patience": 5,
            "success": 0.99,
        },
        "texts": {"learning_rate": 0.1, "stamped": 0.5},
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "learning_rate": 1e-3, "inversion_steps": 8}
    distributed = True

    def check_model(self, params: NeuralCleanseParams, model: Model) -> None:
        """Refuse too few classes of pictures or sound; of texts two will do."""
        if model.task in (IMAGE_TASK, AUDIO_TASK):
            require_classes(self, model, FEWEST_CLASSES)

    def check(self, params: NeuralCleanseParams, clean_rows: int) -> None:
        """Refuse a calibration that is none."""
        from bdm_defense_neural_cleanse.method import METHOD

        if params.calibration:
            METHOD.calibrated.read(params.calibration)

    @hookimpl
    def detect(self, ctx: Context, params: NeuralCleanseParams, model: Model, data: Data) -> Detection:
        from bdm_defense_neural_cleanse.method import detect

        return detect(ctx, params, model, data)

    @hookimpl
    def repair(
        self, ctx: Context, params: NeuralCleanseParams, model: Model, data: Data, detection: Detection | None
    ) -> Model:
        from bdm_defense_neural_cleanse.method import repair

        return repair(ctx, params, model, data, detection)

    def calibrate(self, ctx: Context, params: NeuralCleanseParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_neural_cleanse.method import calibrate

        calibrate(ctx, params, models, out)
