"""ABL; the isolation itself is tested with the kit."""

import torch
from torch.nn import functional

from bdm_core.testing.tiny import new_context
from bdm_defense_abl.params import AblParams
from bdm_defense_abl.training import unlearn
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.fitting import accuracy, fit, predict


class TestABL(ClassifierDefenseConformance):
    plugin = "abl"
    max_change = 30.0


class TestABLOnTexts(TestABL):
    task = "text-classification"


class TestABLOnSound(TestABL):
    task = "audio-classification"


def test_unlearning_raises_the_loss_of_isolated_rows_alone(tmp_path):
    """Two easy classes, and rows of the first with a bright corner and the other label."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 2
    pictures = torch.randint(0, 60, (80, 1, 8, 8), generator=generator, dtype=torch.uint8)
    for row, label in enumerate(labels.tolist()):
        pictures[row, :, :4, 4 * label : 4 * label + 4] += 150
    rest = LabelledSamples(pictures, labels, ["a", "b"], "image-classification")
    bad = rest.pick(list(range(0, 40, 2)))
    bad.stored[:, :, 6:, 6:] = 255
    bad.labels[:] = 1
    classifier = rest.modality.small_classifier(rest.stored, rest.classes, 0)
    both = rest.followed_by(bad)
    fit(new_context(tmp_path / "fit", seed=1), classifier, both, AblParams(epochs=6, batch_size=20))
    assert accuracy(classifier, bad) > 0.9
    params = AblParams(unlearning_epochs=8, batch_size=20, highest_loss=3.0)
    unlearn(new_context(tmp_path / "unlearn", seed=1), classifier, rest, bad, params)
    assert accuracy(classifier, rest) > 0.95
    assert functional.cross_entropy(predict(classifier, bad).logits, bad.labels) > 2
