"""Feature shift tuning."""

import pytest
import torch
from torch import nn

from bdm_defense_fst.repair import likeness, renew
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance


class TestFst(ClassifierDefenseConformance):
    plugin = "fst"
    task = "image-classification"
    max_change = 5.0
    params = {"epochs": 1, "batch_size": 10, "learning_rate": 1e-3, "strengths": [1.0]}

    def test_the_head_is_new_and_keeps_its_norm(self, bench):
        before = load_classifier(bench.model).head
        after = load_classifier(self.tuned(bench)).head
        assert float(after.weight.detach().norm()) == pytest.approx(float(before.weight.detach().norm()), rel=1e-5)
        assert likeness(after.weight, before.weight, "cosine").item() < 0.5

    def tuned(self, bench):
        return self.repair(bench, informed=False).value


class TestFarFromTheGivenHead(ClassifierDefenseConformance):
    """With a large weight the term decides: the new head points away from the given one."""

    plugin = "fst"
    task = "image-classification"
    max_change = 5.0
    params = {"epochs": 10, "batch_size": 10, "learning_rate": 0.05, "alpha": 20.0, "strengths": [1.0]}

    def test_the_head_turns_away(self, bench):
        before, after = (
            load_classifier(model).head for model in (bench.model, self.repair(bench, informed=False).value)
        )
        assert likeness(after.weight, before.weight, "cosine").item() < -0.8


class TestSelection(ClassifierDefenseConformance):
    plugin = "fst"
    task = "image-classification"
    max_change = 5.0


def test_a_new_head_depends_on_the_seed_alone():
    heads = [nn.Linear(8, 3) for _ in range(3)]
    for head in heads[1:]:
        head.load_state_dict(heads[0].state_dict())
    norm = float(heads[0].weight.detach().norm())
    for head, seed in zip(heads, (0, 0, 1), strict=True):
        renew(head, seed)
        assert float(head.weight.detach().norm()) == pytest.approx(norm, rel=1e-5) and not head.bias.any()
    assert torch.equal(heads[0].weight, heads[1].weight) and not torch.equal(heads[0].weight, heads[2].weight)


def test_likeness():
    one, other = torch.tensor([[3.0, 0.0]]), torch.tensor([[4.0, 3.0]])
    assert float(likeness(one, other, "inner-product")) == 12
    assert float(likeness(one, other, "cosine")) == pytest.approx(0.8)
