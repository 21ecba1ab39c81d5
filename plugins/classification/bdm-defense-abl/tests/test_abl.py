"""ABL; the isolation itself is tested with the kit."""

import torch
from torch.nn import functional

from bdm_core.testing.tiny import new_context
from bdm_defense_abl.params import AblParams
from bdm_defense_abl.plugin import ABL
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


class TestABLAsReleased(ClassifierDefenseConformance):
    plugin = "abl"
    max_change = 30.0
    params = {"epochs": 1, "batch_size": 10, "isolation_epochs": 1, "unlearning": "isolated"}


def planted():
    """Two easy classes, rows of the first with a bright corner and the other label, and a network."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 2
    pictures = torch.randint(0, 60, (80, 1, 8, 8), generator=generator, dtype=torch.uint8)
    for row, label in enumerate(labels.tolist()):
        pictures[row, :, :4, 4 * label : 4 * label + 4] += 150
    rest = LabelledSamples(pictures, labels, ["a", "b"], "image-classification")
    bad = rest.pick(list(range(0, 40, 2)))
    bad.stored[:, :, 6:, 6:] = 255
    bad.labels[:] = 1
    return rest, bad, rest.modality.small_classifier(rest.stored, rest.classes, 0)


def test_unlearning_raises_the_loss_of_isolated_rows_alone(tmp_path):
    rest, bad, classifier = planted()
    both = rest.followed_by(bad)
    fit(new_context(tmp_path / "fit", seed=1), classifier, both, AblParams(epochs=6, batch_size=20))
    assert accuracy(classifier, bad) > 0.9
    params = AblParams(unlearning_epochs=8, batch_size=20, highest_loss=3.0)
    unlearn(new_context(tmp_path / "unlearn", seed=1), classifier, rest, bad, params)
    assert accuracy(classifier, rest) > 0.95
    assert functional.cross_entropy(predict(classifier, bad).logits, bad.labels) > 2


def test_epochs_of_the_released_unlearning_are_passes_over_isolated_rows_as_they_are(tmp_path):
    """20 isolated rows in batches of 8: three steps an epoch, each row once or twice, and no other row."""
    rest, bad, classifier = planted()
    seen = []
    hook = classifier.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach().clone()))
    params = AblParams(batch_size=8, unlearning="isolated", unlearning_epochs=5, shift=2, flip=True)
    unlearn(new_context(tmp_path), classifier, rest, bad, params)
    hook.remove()
    assert len(seen) == 5 * 3
    known = {row.numpy().tobytes() for row in bad.raw(list(range(len(bad))))}
    assert {row.numpy().tobytes() for batch in seen for row in batch} == known


def test_the_preset_takes_about_as_many_steps_as_the_authors():
    """1 % of CIFAR-10 in batches of 64, 20 times: 160 steps, not the 15,480 of passes over the other rows."""
    chosen = AblParams(**ABL.presets["paper"])
    assert chosen.unlearning == "isolated"
    rows = round(50_000 * chosen.isolation_rate)
    assert chosen.model_copy(update={"epochs": chosen.unlearning_epochs}).steps(rows) == 160


def test_released_unlearning_raises_the_loss_of_isolated_rows(tmp_path):
    rest, bad, classifier = planted()
    fit(new_context(tmp_path / "fit", seed=1), classifier, rest.followed_by(bad), AblParams(epochs=6, batch_size=20))
    params = AblParams(unlearning="isolated", unlearning_epochs=40, batch_size=20, unlearning_learning_rate=0.1)
    before = functional.cross_entropy(predict(classifier, bad).logits, bad.labels)
    unlearn(new_context(tmp_path / "unlearn", seed=1), classifier, rest, bad, params)
    assert functional.cross_entropy(predict(classifier, bad).logits, bad.labels) > 2 > 0.5 > before
