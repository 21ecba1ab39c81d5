"""Shared adversarial unlearning."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import nn

from bdm_defense_sau.params import SauParams
from bdm_defense_sau.repair import divergence, shared_examples, shared_risk
from bdm_kit_classification.defending.perturbation import ascend
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.fitting import Batch
from bdm_torch.draws import Draw


class TestSau(ClassifierDefenseConformance):
    plugin = "sau"
    task = "image-classification"


class TestKeptStatistics(ClassifierDefenseConformance):
    plugin = "sau"
    task = "image-classification"
    params = {"epochs": 1, "learning_rate": 1e-3, "search_steps": 1, "normalisation": "kept", "strengths": [1.0]}


def test_divergence_against_scipy():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(6, 4, generator=generator).double() for _ in range(2))
    wanted = jensenshannon(one.softmax(1).numpy(), other.softmax(1).numpy(), axis=1) ** 2
    assert np.allclose(divergence(one, other).numpy(), wanted)


def test_shared_risk_by_hand():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, 1.0]]).double()
    given = torch.eye(3).double()[[0, 1, 2]]
    p = logits.softmax(1)
    wanted = -(torch.log(1 - p[0, 0]) + torch.log(1 - p[2, 2])) / 3
    assert float(shared_risk(logits, given, torch.tensor([1, 1, 1]))) == pytest.approx(float(wanted))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_ascent_of_a_linear_objective_reaches_the_bound(norm):
    """The maximum of <a, d> over a ball has a closed form."""
    a = torch.randn(2, 5, generator=torch.Generator().manual_seed(0)).double()
    inputs = torch.full((2, 5), 0.5).double()
    found = ascend(lambda x: (a * x).sum(), inputs, torch.zeros_like(inputs), bound=0.2, size=0.1, steps=9, norm=norm)
    best = 0.2 * a.sign() if norm == "linf" else 0.2 * a / a.norm(dim=1, keepdim=True)
    assert torch.allclose(found - inputs, best)


def test_examples_are_shared_where_a_shortcut_is():
    """Two linear models that agree on one value and nowhere else: the search moves that value."""
    network, given = nn.Linear(3, 2, bias=False).double(), nn.Linear(3, 2, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[4.0, 4.0, 0.0], [0.0, 0.0, 0.0]]))
        given.weight.copy_(torch.tensor([[4.0, 0.0, 4.0], [0.0, 0.0, 0.0]]))
    inputs, labels = torch.full((4, 3), 0.5).double(), torch.ones(4, dtype=torch.int64)
    params = SauParams(bound=0.4, search_steps=20, search_size=0.1, fool_weight=1.0)
    draw = Draw(seed=0, step=0, batch_size=4)
    change = shared_examples(network, given, Batch(inputs, labels, torch.arange(4)), draw, params) - inputs
    assert float(change[:, 0].min()) > 0.35


def test_the_search_weighs_the_mean_of_both_losses_against_the_divergence():
    """At this weight the mean of both losses loses against the divergence, and their sum would not."""
    weights = [torch.tensor([[3.0], [0.0]]).double(), torch.tensor([[1.0], [0.0]]).double()]
    network, given = (lambda x, w=w: x @ w.T for w in weights)
    inputs, labels = torch.full((1, 1), 0.5).double(), torch.tensor([1])
    point = inputs.clone().requires_grad_()
    one, other = network(point), given(point)
    errors = nn.functional.cross_entropy(one, labels) + nn.functional.cross_entropy(other, labels)
    p, q = one.softmax(1), other.softmax(1)
    middle = (p + q) / 2
    apart = (p * (p / middle).log() + q * (q / middle).log()).sum() / 2
    fooling, parting = (torch.autograd.grad(value, point, retain_graph=True)[0].item() for value in (errors, apart))
    assert fooling > 0 and parting > 0
    params = SauParams(bound=0.3, search_steps=1, search_size=1e-3, fool_weight=1.5 * parting / fooling)
    draw = Draw(seed=0, step=0, batch_size=1)
    start = (2 * draw.uniform(1) - 1) * params.bound
    shift = Batch(inputs - start, labels, torch.arange(1))  # the start is added again
    moved = shared_examples(network, given, shift, Draw(seed=0, step=0, batch_size=1), params)
    assert float(moved - inputs) == pytest.approx(-0.3e-3)
