"""D-BR; telling rows apart is tested with the kit."""

import torch

from bdm_core.testing.tiny import new_context
from bdm_defense_d_br.params import DbrParams
from bdm_defense_d_br.removal import unlearn_and_relearn
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.fitting import accuracy, fit


class TestDBR(ClassifierDefenseConformance):
    plugin = "d-br"
    max_change = 30.0


def test_a_planted_backdoor_is_unlearnt(tmp_path):
    """Two easy classes; a bright corner means the second one until it is unlearnt."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 2
    pictures = torch.randint(0, 60, (80, 1, 8, 8), generator=generator, dtype=torch.uint8)
    for row, label in enumerate(labels.tolist()):
        pictures[row, :, :4, 4 * label : 4 * label + 4] += 150
    clean = LabelledSamples(pictures, labels, ["a", "b"], "image-classification")
    bad = clean.pick(list(range(0, 40, 2)))
    bad.stored[:, :, 6:, 6:] = 255
    bad.labels[:] = 1
    classifier = clean.modality.small_classifier(clean.stored, clean.classes, 0)
    fit(new_context(tmp_path / "fit", seed=1), classifier, clean.followed_by(bad), DbrParams(batch_size=20))
    assert accuracy(classifier, bad) > 0.9
    params = DbrParams(epochs=8, batch_size=20, highest_loss=3.0)
    unlearn_and_relearn(new_context(tmp_path / "unlearn", seed=1), classifier, clean, bad, params)
    assert accuracy(classifier, bad) < 0.1
    assert accuracy(classifier, clean) > 0.95
