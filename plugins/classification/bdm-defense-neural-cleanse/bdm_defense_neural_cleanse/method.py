"""Neural Cleanse (Wang et al., S&P 2019): classes are compared by the area of the smallest mask that reaches them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_neural_cleanse import sound, texts
from bdm_defense_neural_cleanse.params import NeuralCleanseParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.inversion import detection as pictures
from bdm_kit_classification.inversion.detection import Method
from bdm_kit_classification.inversion.repair import repair as repair_pictures
from bdm_kit_classification.inversion.search import Inverted, area
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.tasks.audio import AUDIO_TASK
from bdm_kit_classification.tasks.text import TEXT_TASK
from bdm_torch.calibration_file import Calibrated


def mask_area(classifier: Classifier, samples: LabelledSamples, found: Inverted) -> Tensor:
    """The L1 norm of each class's mask, (K,), in pixels."""
    return found.norms


METHOD = Method(
    calibrated=Calibrated("neural-cleanse", "bdm_defense_neural_cleanse"), size=lambda params: area, value=mask_area
)


def detect(ctx: Context, params: NeuralCleanseParams, model: Model, data: Data) -> Detection:
    """Judge a model, of pictures, texts or sound."""
    if model.task == AUDIO_TASK:
        return sound.detect(ctx, params, model, data, METHOD.calibrated)
    if model.task == TEXT_TASK:
        return texts.detect(ctx, params, model, data, METHOD.calibrated)
    return pictures.detect(ctx, params, model, data, METHOD)


def repair(ctx: Context, params: NeuralCleanseParams, model: Model, data: Data, found: Detection | None) -> Model:
    """Remove the triggers that a detection found, or those of a new search; sealed."""
    if model.task == AUDIO_TASK:
        return sound.repair(ctx, params, model, data, found, METHOD.calibrated)
    if model.task == TEXT_TASK:
        return texts.repair(ctx, params, model, data, found, METHOD.calibrated)
    return repair_pictures(ctx, params, model, data, found, METHOD)


def calibrate(ctx: Context, params: NeuralCleanseParams, models: Mapping[str, Model], out: Path) -> None:
    """Write the indices of clean models, all of one task.

    Raises:
        UserError: models are of several tasks.
    """
    tasks = sorted({model.task for model in models.values()})
    if len(tasks) > 1:
        raise UserError(f"calibrate with models of one task, not of {' and '.join(tasks)}")
    if tasks == [AUDIO_TASK]:
        return sound.calibrate(ctx, params, models, out, METHOD.calibrated)
    if tasks == [TEXT_TASK]:
        return texts.calibrate(ctx, params, models, out, METHOD.calibrated)
    return pictures.calibrate(ctx, params, models, out, METHOD)
