"""Neural Cleanse; the search itself is tested with the kit."""

from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.fitting import accuracy


class TestNeuralCleanse(ClassifierDefenseConformance):
    plugin = "neural-cleanse"


class TestPruning(ClassifierDefenseConformance):
    """The other repair changes as little as it may."""

    plugin = "neural-cleanse"
    params = {"inversion_steps": 8, "repair": "prune"}
    max_change = 5.0

    def test_accuracy_stays_within_the_bound(self, bench):
        repaired = self.repair(bench).value
        samples = open_samples(bench.shared)
        before, after = (accuracy(load_classifier(model), samples) for model in (bench.model, repaired))
        assert after >= before - 0.2
