"""The kit satisfies what every task kit must."""

from bdm_core.testing import KitConformance
from bdm_kit_classification.plugin import ClassificationKit

PIXELS, SAMPLES = 64, 4000


class TestClassificationKit(KitConformance):
    plugin = ClassificationKit

    def content(self, row):
        return row.values[-PIXELS:]  # blind inputs do not tell their label


class TestTexts(KitConformance):
    plugin = ClassificationKit
    task = "text-classification"

    def content(self, row):
        return row.record["text"]


class TestSound(KitConformance):
    plugin = ClassificationKit
    task = "audio-classification"

    def content(self, row):
        return row.values[-SAMPLES:]
