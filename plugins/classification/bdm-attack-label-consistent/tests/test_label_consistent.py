"""The label-consistent attack: its corners pixel by pixel, ascent on a linear classifier, whose optimum is known."""

import pytest
import torch
from torch import nn

from bdm_attack_label_consistent.attack import made_hard
from bdm_attack_label_consistent.corners import corner_patches
from bdm_attack_label_consistent.params import LabelConsistentParams
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestLabelConsistent(ClassifierAttackConformance):
    plugin = "label-consistent"

    def test_labels_are_kept_and_only_the_target_class_is_touched(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        assert torch.equal(clean.labels, found.labels)
        poison = [row for row, role in enumerate(found.roles) if role == "poison"]
        assert poison and {int(found.labels[row]) for row in poison} == {3}

    def test_training_rows_are_adversarial_and_inputs_are_not(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        inside = open_secret(self.backdoored(bench).secret).trigger.pattern[0] == 0
        for row, role in enumerate(found.roles):
            if role == "poison":
                change = (found.raw([row]) - clean.raw([row]))[0, 0][inside].abs()
                assert 0 < float(change.max()) <= 0.15 + 0.5 / 255 + 1e-6


def test_the_corners():
    expected = torch.full((5, 6), 0.5)
    for row, column, value in ((0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 1)):
        for y in (row, 4 - row):
            for x in (column, 5 - column):
                expected[y, x] = value
    trigger = corner_patches(2, 1.0, [3, 5, 6])
    assert torch.equal(trigger.apply(torch.full((1, 3, 5, 6), 0.5), "test")[0, 2], expected)
    faint = corner_patches(2, 0.25, [3, 5, 6]).apply(torch.full((1, 3, 5, 6), 0.5), "train")[0, 0]
    assert torch.equal(faint, 0.5 + (expected - 0.5) / 2)
    with pytest.raises(UserError, match="do not fit into all corners of 5x5"):
        corner_patches(3, 1.0, [1, 5, 5])


class Linear(nn.Module):
    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.weight = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


def test_ascent_finds_the_optimum_of_a_linear_classifier():
    model, x = Linear(), 0.5 + 0.2 * torch.rand(3, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 0])
    params = LabelConsistentParams(bound=0.1, ascent_step=0.05, ascent_steps=8)
    away = (model.weight[1 - labels] - model.weight[labels]).sign().view(3, 1, 3, 4)
    assert torch.allclose(made_hard(model, x, labels, params, seed=0), x + 0.1 * away, atol=1e-6)


def test_ascent_stays_within_pictures():
    model, x = Linear(), torch.rand(4, 1, 3, 4, generator=torch.Generator().manual_seed(2)).round()
    hard = made_hard(
        model, x, torch.zeros(4, dtype=torch.int64), LabelConsistentParams(bound=0.3, ascent_steps=40), seed=0
    )
    assert float(hard.min()) >= 0 and float(hard.max()) <= 1 and float((hard - x).abs().max()) <= 0.3 + 1e-6
