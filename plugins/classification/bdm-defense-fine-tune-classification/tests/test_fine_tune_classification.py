"""Plain fine-tuning of a classifier."""

from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.fitting import accuracy


class TestFineTune(ClassifierDefenseConformance):
    plugin = "fine-tune"
    task = "image-classification"


class TestTexts(ClassifierDefenseConformance):
    plugin = "fine-tune"
    task = "text-classification"


class TestSound(ClassifierDefenseConformance):
    plugin = "fine-tune"
    task = "audio-classification"


class TestEnoughSteps(ClassifierDefenseConformance):
    """Training on the data learns the data."""

    plugin = "fine-tune"
    task = "image-classification"
    params = {"epochs": 40, "batch_size": 10, "learning_rate": 0.05, "strengths": [1.0]}
    max_change = 20.0

    def test_learns_the_data(self, bench):
        repaired = self.repair(bench, informed=False).value
        samples = open_samples(bench.shared)
        before, after = (accuracy(load_classifier(model), samples) for model in (bench.model, repaired))
        assert before < 0.5 < 0.9 < after
