"""D-ST; contrastive learning and telling rows apart are tested with the kit."""

import torch

from bdm_core.testing.tiny import new_context
from bdm_defense_d_st.params import DstParams
from bdm_defense_d_st.plugin import DST
from bdm_defense_d_st.training import mixed_cross_entropy
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.consistency_params import PUBLISHED
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.fitting import accuracy, fit


class TestDST(ClassifierDefenseConformance):
    plugin = "d-st"
    max_change = 30.0


def test_the_head_learns_clean_rows_and_unlearns_the_others(tmp_path):
    labels = torch.arange(40) % 2
    pictures = torch.randint(0, 60, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pictures[labels == 1] += 150
    clean = LabelledSamples(pictures, labels, ["a", "b"], "image-classification")
    bad = clean.pick(list(range(0, 20, 2)))
    bad.labels[:] = 1
    classifier = clean.modality.small_classifier(clean.stored, clean.classes, 0)
    fit(new_context(tmp_path / "fit", seed=1), classifier, clean, DstParams(epochs=6, batch_size=20))
    body = next(classifier.parameters()).clone()
    torch.nn.init.zeros_(classifier.head.weight)
    params = DstParams(head_epochs=10, head_learning_rate=0.1, batch_size=20)
    mixed_cross_entropy(new_context(tmp_path / "head", seed=1), classifier, clean, bad, params)
    assert accuracy(classifier, clean) > 0.95
    assert accuracy(classifier, bad) < 0.1
    assert torch.equal(next(classifier.parameters()), body)


def test_rows_are_told_apart_as_in_d_br():
    """The paper has one module for both."""
    assert PUBLISHED.items() <= DST.presets["paper"].items()
