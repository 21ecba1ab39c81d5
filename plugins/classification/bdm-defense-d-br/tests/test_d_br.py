"""D-BR; telling rows apart is tested with the kit."""

import pytest
import torch

from bdm_core.errors import StageError
from bdm_core.testing.tiny import new_context
from bdm_defense_d_br.params import DbrParams
from bdm_defense_d_br.plugin import DBR
from bdm_defense_d_br.removal import unlearn_and_relearn
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.consistency_params import PUBLISHED
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


def test_the_ascent_does_not_carry_the_network_to_chance(tmp_path):
    """A victim that is sure of its rows: their gradient is small until it is huge, and momentum sums it up.

    Without the clip weights are beyond all numbers within 50 steps; with it a step is never longer than lr / (1 - m).
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 4
    pictures = torch.randint(0, 60, (200, 1, 8, 8), generator=generator, dtype=torch.uint8)
    for row, label in enumerate(labels.tolist()):
        down, right = 4 * (label // 2), 4 * (label % 2)
        pictures[row, :, down : down + 4, right : right + 4] += 100
    clean = LabelledSamples(pictures, labels, ["a", "b", "c", "d"], "image-classification")
    bad = clean.pick([row for row in range(80) if row % 4])
    bad.stored[:, :, 7:, 7:] = 255
    bad.labels[:] = 0
    classifier = clean.modality.small_classifier(clean.stored, clean.classes, 0)
    known = DbrParams(batch_size=20, epochs=8, learning_rate=0.05)
    fit(new_context(tmp_path / "fit", seed=1), classifier, clean.followed_by(bad), known)
    assert accuracy(classifier, clean) == accuracy(classifier, bad) == 1
    start = {name: value.clone() for name, value in classifier.state_dict().items()}
    params = DbrParams(batch_size=20, learning_rate=0.05)
    unlearn_and_relearn(new_context(tmp_path / "clipped", seed=1), classifier, clean, bad, params)
    assert accuracy(classifier, bad) < 0.1 and accuracy(classifier, clean) > 0.95
    classifier.load_state_dict(start)
    with pytest.raises(StageError, match="not finite"):
        free = params.model_copy(update={"max_gradient_norm": DBR.presets["paper"]["max_gradient_norm"]})
        unlearn_and_relearn(new_context(tmp_path / "free", seed=1), classifier, clean, bad, free)


def test_rows_that_are_unlearnt_are_augmented_as_those_that_are_relearnt(tmp_path):
    """One bright pixel each: with a shift it is found at several places in steps of either kind, without at one."""
    pictures = torch.zeros(20, 1, 8, 8, dtype=torch.uint8)
    pictures[:, :, 4, 4] = 255
    clean = LabelledSamples(pictures, torch.arange(20) % 2, ["a", "b"], "image-classification")
    for shift in (0, 2):
        classifier, seen = clean.modality.small_classifier(clean.stored, clean.classes, 0), []
        classifier.register_forward_pre_hook(lambda module, given, seen=seen: seen.append(given[0].detach().clone()))
        params = DbrParams(epochs=2, batch_size=10, shift=shift)
        unlearn_and_relearn(new_context(tmp_path / str(shift)), classifier, clean, clean, params)
        for kind in (seen[::2], seen[1::2]):
            places = {int(row.flatten().argmax()) for batch in kind for row in batch}
            assert (len(places) > 4) if shift else places == {4 * 8 + 4}


def test_rows_are_told_apart_as_in_d_st():
    """The paper has one module for both."""
    assert PUBLISHED.items() <= DBR.presets["paper"].items()
