"""Neural Cleanse (Wang et al., S&P 2019): classes are compared by the area of the smallest mask that reaches them."""

from __future__ import annotations

from torch import Tensor

from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.inversion.detection import Method
from bdm_kit_classification.inversion.search import Inverted, area
from bdm_kit_classification.models.classifier import Classifier
from bdm_torch.calibration_file import Calibrated


def mask_area(classifier: Classifier, samples: LabelledSamples, found: Inverted) -> Tensor:
    """The L1 norm of each class's mask, (K,), in pixels."""
    return found.norms


METHOD = Method(
    calibrated=Calibrated("neural-cleanse", "bdm_defense_neural_cleanse"), size=lambda params: area, value=mask_area
)
