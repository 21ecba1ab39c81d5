"""Blind: the pattern, the weights of MGDA against a search, and when the second loss counts."""

import torch
from torch import nn
from torch.nn import functional

from bdm_attack_blind.attack import BlindLoss, RunningMean, least_norm_weight, pattern_of
from bdm_attack_blind.params import BlindParams
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.training.fitting import Batch
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_torch.draws import Draw


class TestBlind(ClassifierAttackConformance):
    plugin = "blind"


class TestMgda(ClassifierAttackConformance):
    plugin = "blind"
    params = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1, "weights": "mgda", "threshold": 100.0}


def test_the_pattern_has_its_size_and_black_pixels():
    patch = pattern_of(BlindParams(height=5, width=3), [1, 28, 28])
    assert patch.mask.sum() == 15 and patch.pattern.sum() == 8
    assert patch.apply(torch.full((1, 1, 28, 28), 0.5), "test")[0, 0, 1, 1:4].tolist() == [1.0, 0.0, 1.0]
    assert pattern_of(BlindParams(), [1, 28, 28]).mask.sum() == 15


def test_the_weight_of_least_norm_is_that_of_a_search():
    draw = torch.Generator().manual_seed(0)
    shares = torch.linspace(0, 1, 10_001)[:, None]
    for scale in (0.1, 1.0, 5.0):
        one, other = torch.randn(7, generator=draw), 0.5 + scale * torch.randn(7, generator=draw)
        norms = (shares * one + (1 - shares) * other).norm(dim=1)
        found = least_norm_weight([one[:3], one[3:]], [other[:3], other[3:]])
        assert abs(float(found) - float(shares[norms.argmin()])) < 2e-4


def changed_loss(model, **options):
    rule, params = (
        LabelRule(kind="all-to-one", classes=3, target=0),
        BlindParams(height=1, width=1, margin=0, **options),
    )
    return BlindLoss(params, rule, pattern_of(params, [1, 2, 2]), list(model.parameters()), RunningMean(2))


def test_the_backdoor_counts_once_the_clean_loss_is_low():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    x, labels = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 1, 0])
    batch = Batch(x, labels, torch.arange(5))
    blind = changed_loss(model, threshold=50.0)
    clean = functional.cross_entropy(model(x), labels)
    assert torch.equal(blind.loss(model, batch, Draw(0, 0, 5)), clean)
    marked = blind.trigger.apply(x[1:4], "train")
    backdoor = functional.cross_entropy(model(marked), torch.zeros(3, dtype=torch.int64))
    assert torch.allclose(blind.loss(model, batch, Draw(0, 1, 5)), clean + 0.9 * backdoor)
    never = changed_loss(model, threshold=1e-6)
    for step in range(3):
        assert torch.equal(never.loss(model, batch, Draw(0, step, 5)), clean)


def test_mgda_balances_the_scaled_gradients():
    model = nn.Linear(2, 2, bias=False)
    x = torch.eye(2)
    losses = [functional.cross_entropy(model(x), torch.tensor(labels)) for labels in ([0, 1], [1, 1])]
    weights = changed_loss(model, weights="mgda").weights(*losses)
    scaled = [torch.autograd.grad(one, model.weight, retain_graph=True)[0] / one.detach() for one in losses]
    mixed = weights[0] * scaled[0] + weights[1] * scaled[1]
    assert 0 < float(weights[0]) < 1
    assert torch.allclose((mixed * scaled[0]).sum(), (mixed * scaled[1]).sum(), atol=1e-6)  # least norm: equal descent
