"""Repair by optimal transport."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.optimize import linprog

from bdm_core.testing.tiny import new_context
from bdm_defense_otbr.params import OtbrParams
from bdm_defense_otbr.repair import convolutions, fuse, pruned, unlearnt, weight_changes
from bdm_defense_otbr.transport import carried, transport_plan
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import ClassifierDefenseConformance


class TestOtbr(ClassifierDefenseConformance):
    plugin = "otbr"
    task = "image-classification"


class TestOneShare(ClassifierDefenseConformance):
    plugin = "otbr"
    task = "image-classification"
    params = {"unlearning_steps": 2, "batch_size": 8, "shares": [0.05]}


def own(architecture="cnn", width=4):
    return build(ImageConfig(architecture=architecture, width=width, shape=(1, 8, 8), classes=["a", "b"]), seed=0)


def by_linear_program(cost, a, b):
    """The least cost of transport, by a general solver."""
    n, m = cost.shape
    rows = np.kron(np.eye(n), np.ones((1, m)))
    columns = np.kron(np.ones((1, n)), np.eye(m))
    found = linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b]), method="highs")
    return found.fun


@pytest.mark.parametrize("seed", range(4))
def test_plan_against_a_linear_program(seed):
    generator = torch.Generator().manual_seed(seed)
    source, target = torch.randn(6, 3, generator=generator), torch.randn(5, 3, generator=generator)
    mass = torch.rand(5, generator=generator).double()
    plan = transport_plan(source, target, torch.ones(6), mass)
    assert torch.allclose(plan.sum(1), torch.full((6,), 1 / 6).double())
    assert torch.allclose(plan.sum(0), mass / mass.sum())
    cost = torch.cdist(source.double(), target.double())
    wanted = by_linear_program(cost.numpy(), np.full(6, 1 / 6), (mass / mass.sum()).numpy())
    assert float((plan * cost).sum()) == pytest.approx(wanted, abs=1e-7)


def test_carried_values_are_weighted_means():
    plan = torch.tensor([[0.2, 0.1, 0.0], [0.2, 0.0, 0.0]]).double()
    values = torch.tensor([[1.0, 2.0], [3.0, 6.0]]).double()
    assert carried(values, plan).tolist() == [[2.0, 4.0], [1.0, 2.0], [0.0, 0.0]]
    assert torch.equal(carried(values.T, plan, dim=1), carried(values, plan).T)


def test_a_permuted_copy_is_aligned_back():
    """Fused with a copy of itself whose units are in another order, a network computes what it did."""
    given = own()
    other = own()
    layer, norm = other.network.convs[1], other.network.norms[1]
    order = torch.randperm(layer.weight.shape[0], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for holder, names in ((layer, ["weight"]), (norm, ["weight", "bias", "running_mean", "running_var"])):
            for name in names:
                getattr(holder, name).copy_(getattr(holder, name)[order])
        other.network.convs[2].weight.copy_(other.network.convs[2].weight[:, order])
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(other(x), given(x), atol=1e-5)
    equal = [torch.ones(found.units) for found in convolutions(given)]
    fused = fuse(given, other, equal, balance=0.5)
    assert torch.allclose(fused(x), given(x), atol=1e-5)


@pytest.mark.parametrize("architecture", ["cnn", "preact-resnet18", "vgg19-bn"])
def test_fusion_keeps_layers_before_the_first_pruned_one(architecture):
    given = own(architecture, width=2)
    changes = [torch.zeros(found.units) for found in convolutions(given)]
    changes[2][1] = 1.0
    cut = pruned(given, changes, 1e-6)
    fused = fuse(given, cut, changes, 0.5)
    for place, (one, other) in enumerate(zip(convolutions(given), convolutions(fused), strict=True)):
        assert place >= 2 or torch.equal(one.layer.weight, other.layer.weight)
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    nothing = fuse(given, cut, changes, balance=0.0)
    assert torch.allclose(nothing(x), given(x), atol=1e-5)
    assert torch.isfinite(fused(x)).all()


def test_units_that_changed_most_are_pruned():
    given = own()
    changes = [torch.zeros(found.units) for found in convolutions(given)]
    changes[0][3], changes[2][5] = 2.0, 1.0
    cut = pruned(given, changes, 2 / sum(map(len, changes)))
    silent = [layer.layer.weight.flatten(1).abs().sum(1) == 0 for layer in convolutions(cut)]
    assert [found.nonzero().flatten().tolist() for found in silent] == [[3], [], [5], []]


def test_ascent_changes_weights_and_leaves_the_given_model(tmp_path):
    given = own()
    before = [found.layer.weight.detach().clone() for found in convolutions(given)]
    after = unlearnt(new_context(tmp_path), OtbrParams(unlearning_steps=2, batch_size=8), given, (1, 8, 8))
    changes = weight_changes(given, after)
    assert all(float(change.min()) > 0 for change in changes)
    assert all(torch.equal(one, two.layer.weight) for one, two in zip(before, convolutions(given), strict=True))


def test_shares_rise():
    with pytest.raises(ValidationError, match="rise"):
        OtbrParams(shares=[0.2, 0.1])
