"""UBW-C: its gradients against finite differences, its bound and labels, and that matching gets better."""

import pytest
import torch
from torch import nn

from bdm_attack_ubw.attack import poison
from bdm_attack_ubw.clean_label import Crafting
from bdm_attack_ubw.matching import (
    gradient_norms,
    matching_slope,
    mismatch,
    outer_gradient,
    outer_loss,
    weight_gradient,
)
from bdm_attack_ubw.params import UbwParams
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import read_backdoor
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.testing.planted import SIZE, without_norms


class TestCleanLabelUbw(ClassifierAttackConformance):
    plugin = "ubw"
    params = {
        "mode": "clean-label",
        "epochs": 1,
        "batch_size": 16,
        "craft_steps": 2,
        "periods": 2,
        "surrogate_epochs": 1,
        "outer_rows": 16,
    }


class Smooth(nn.Module):
    """A small network in double precision that can be differentiated twice everywhere."""

    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(5, 4, generator=generator).double())
        self.second = nn.Parameter(torch.randn(3, 5, generator=generator).double())

    def forward(self, x):
        return (x.flatten(1).to(self.first) @ self.first.T).tanh() @ self.second.T


def pictures(count, seed):
    return torch.rand(count, 1, 2, 2, generator=torch.Generator().manual_seed(seed)).double()


def test_slopes_are_those_of_finite_differences():
    model, x, labels = Smooth(), pictures(3, 1), torch.tensor([0, 2, 1])
    outer = outer_gradient(model, pictures(4, 2), torch.tensor([0, 1, 2, 0]), 2.0)

    def value(z):
        return float(mismatch(weight_gradient(model, nn.functional.cross_entropy(model(z), labels)), outer))

    slope, found = matching_slope(model, x, labels, outer)
    assert found == pytest.approx(value(x), abs=1e-12)
    for place in range(x.numel()):
        step = torch.zeros(x.numel()).double()
        step[place] = 1e-5
        there, back = value(x + step.view_as(x)), value(x - step.view_as(x))
        assert float(slope.flatten()[place]) == pytest.approx((there - back) / 2e-5, rel=1e-5, abs=1e-8)


def test_the_outer_gradient_is_that_of_finite_differences_and_of_all_batches(monkeypatch):
    model, x, labels = Smooth(), pictures(5, 3), torch.tensor([0, 1, 2, 0, 1])
    whole = outer_gradient(model, x, labels, 1.5)
    weights = list(model.parameters())
    place = 0
    for weight in weights:
        for index in range(weight.numel()):
            values = []
            for step in (1e-6, -1e-6):
                weight.data.view(-1)[index] += step
                values.append(float(outer_loss(model(x), labels, 1.5).detach()))
                weight.data.view(-1)[index] -= step
            assert float(whole[place]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-8)
            place += 1
    assert place == len(whole)
    monkeypatch.setattr("bdm_attack_ubw.matching.AT_ONCE", 2)
    assert torch.allclose(outer_gradient(model, x, labels, 1.5), whole)


def test_norms_of_a_linear_classifier_are_known():
    # d CE / d W = (p - e_y) x^T: its norm is |p - e_y| |x|
    linear = nn.Linear(4, 3, bias=False)
    model = nn.Sequential(nn.Flatten(), linear)
    x, labels = pictures(4, 4).float(), torch.tensor([0, 1, 2, 0])
    error = model(x).softmax(1) - nn.functional.one_hot(labels, 3)
    expected = error.norm(dim=1) * x.flatten(1).norm(dim=1)
    assert gradient_norms(model, list(x), list(labels)) == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "sign"])
def test_steps_lower_the_mismatch_within_the_bound_and_the_best_start_is_kept(tmp_path, optimizer):
    model, x, labels = Smooth(), pictures(4, 5).float(), torch.tensor([0, 2, 1, 1])
    params = UbwParams(bound=0.1, craft_steps=30, craft_rate=0.02, periods=2, restarts=3, craft_optimizer=optimizer)
    crafting = Crafting(new_context(tmp_path), params, x, labels)
    outer = outer_gradient(model, pictures(4, 6), torch.tensor([0, 1, 2, 0]), 2.0)
    assert len({tuple(delta.flatten().tolist()) for delta in crafting.deltas}) == 3
    before = [matching_slope(model, x + delta, labels, outer)[1] for delta in crafting.deltas]
    crafting.run(model, outer, 0)
    crafting.run(model, outer, 1)
    after = [matching_slope(model, x + delta, labels, outer)[1] for delta in crafting.deltas]
    assert all(new < old for new, old in zip(after, before, strict=True))
    best = crafting.best()
    assert matching_slope(model, best, labels, outer)[1] == pytest.approx(min(after), abs=1e-6)
    assert float((best - x).abs().max()) <= 0.1 + 1e-6 and float(best.min()) >= 0 and float(best.max()) <= 1


def test_rows_keep_their_labels_and_have_no_patch(tmp_path):
    generator = torch.Generator().manual_seed(7)
    stored = torch.randint(0, 256, (60, 1, 8, 8), generator=generator).to(torch.uint8)
    rows = LabelledSamples(stored, torch.arange(60) % 3, ["a", "b", "c"], "image-classification")
    params = UbwParams(
        mode="clean-label", poison_rate=0.2, craft_steps=6, periods=3, surrogate_epochs=1, batch_size=20, size=3
    )
    data = poison(new_context(tmp_path / "ctx"), params, seal_samples(tmp_path / "clean", rows))
    found, backdoor = open_samples(data), read_backdoor(data)
    change = (found.stored.int() - stored.int()).abs().flatten(1).amax(1)
    chosen = torch.tensor([role == "poison" for role in found.roles])
    assert torch.equal(found.labels, rows.labels) and int(chosen.sum()) == 12
    assert bool((change[chosen] > 0).all()) and int(change.max()) <= 16 and not change[~chosen].any()
    assert backdoor.rule.success(prediction=0, label=1) and not backdoor.rule.success(prediction=1, label=1)
    assert [len(losses) for losses in backdoor.facts["matching_losses"]] == [2, 2, 2]


def test_slopes_of_a_transformer(tmp_path):
    """Its fast attention has no second derivative."""
    model = load_classifier(without_norms(tmp_path / "vit"))
    generator = torch.Generator().manual_seed(0)
    x, triggered = torch.rand(2, 4, 1, SIZE, SIZE, generator=generator)
    labels = torch.tensor([0, 1, 2, 3])
    slope, value = matching_slope(model, x, labels, outer_gradient(model, triggered, labels, 2.0))
    assert slope.shape == x.shape and bool(slope.isfinite().all()) and float(slope.abs().max()) > 0
    assert 0 <= value <= 2
