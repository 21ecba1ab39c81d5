"""Adversarial unlearning by implicit hyper-gradients."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bdm_core.testing.tiny import new_context
from bdm_defense_i_bau.hypergradient import with_implicit_part
from bdm_defense_i_bau.params import IBauParams
from bdm_defense_i_bau.plugin import IBau
from bdm_defense_i_bau.repair import unlearn_perturbation, worst_perturbation
from bdm_kit_classification.data.samples import LabelledSamples, seal_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.planted import pictures, without_norms


class TestIBau(ClassifierDefenseConformance):
    plugin = "i-bau"
    task = "image-classification"


class TestBatchStatistics(ClassifierDefenseConformance):
    plugin = "i-bau"
    task = "image-classification"
    params = {"epochs": 1, "learning_rate": 1e-4, "inner_passes": 1, "normalisation": "batch", "strengths": [1.0]}


def smooth_problem():
    """A small smooth network, samples, and a penalty that makes the inner objective strongly convex."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    x, y = torch.randn(7, 3).double(), torch.randint(2, (7,))

    def outer(d):
        return functional.cross_entropy(network(x + d), y)

    def penalty(d):
        return 2 * d.square().sum()

    return network, outer, penalty


def best(outer, penalty, steps=60, rate=0.2):
    d = torch.zeros(1, 3).double()
    for _ in range(steps):
        d.requires_grad_()
        (slope,) = torch.autograd.grad(penalty(d) - outer(d), d)
        d = (d - rate * slope).detach()
    return d


def hypergradient(steps):
    network, outer, penalty = smooth_problem()
    with_implicit_part(outer, penalty, best(outer, penalty), steps=steps, rate=0.1).backward()
    return torch.cat([value.grad.flatten() for value in network.parameters()])


def by_differences(width=1e-4):
    """Finite differences of H(d*(w), w), the inner problem solved anew for each."""
    network, outer, penalty = smooth_problem()
    found = []
    for value in network.parameters():
        flat = value.detach().view(-1)
        for place in range(flat.numel()):
            kept, ends = float(flat[place]), []
            for sign in (1, -1):
                flat[place] = kept + sign * width
                ends.append(float(outer(best(outer, penalty)).detach()))
            flat[place] = kept
            found.append((ends[0] - ends[1]) / (2 * width))
    return torch.tensor(found).double()


def test_against_finite_differences():
    wanted = by_differences()
    exact, plain = hypergradient(steps=200), hypergradient(steps=0)
    error = float((exact - wanted).abs().max())
    assert error < 1e-6, error
    assert float((plain - wanted).abs().max()) > 30 * error + 1e-4, "the implicit part makes no difference here"
    errors = [float((hypergradient(steps) - wanted).norm()) for steps in (1, 5, 20)]
    assert errors == sorted(errors, reverse=True)


def test_value_is_that_of_the_outer_objective():
    _, outer, penalty = smooth_problem()
    d = torch.ones(1, 3).double() / 10
    assert with_implicit_part(outer, penalty, d, steps=5, rate=0.1).item() == outer(d).item()


def test_the_perturbation_raises_the_loss_within_its_ball():
    config = ImageConfig(architecture="cnn", width=4, shape=(1, 8, 8), classes=["a", "b"])
    classifier = build(config, seed=0)
    pictures = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows = LabelledSamples(pictures, torch.arange(20) % 2, ["a", "b"], "image-classification")
    rows.labels.copy_(classifier(rows.raw()).argmax(1))
    params = IBauParams(radius=0.1, inner_passes=3, batch_size=8)
    found = worst_perturbation(classifier, rows, classifier, params)
    assert found.shape == (1, 1, 8, 8) and float(found.norm()) <= 0.1 * np.sqrt(64) + 1e-5
    random = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    losses = [
        float(functional.cross_entropy(classifier(rows.raw() + d), rows.labels).detach())
        for d in (torch.zeros_like(found), random * found.norm() / random.norm(), found)
    ]
    assert losses[2] > max(losses[:2])


def test_a_transformer_is_repaired_too(tmp_path):
    """Its fast attention has no second derivative, which the hyper-gradient needs."""
    model = without_norms(tmp_path / "vit")
    data = seal_samples(tmp_path / "rows", pictures(24, seed=0))
    params = IBauParams(**IBau.tiny_params, strengths=[1.0])
    repaired = unlearn_perturbation(new_context(tmp_path), params, model, data)
    before, after = (load_classifier(item).state_dict() for item in (model, repaired))
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    assert all(bool(value.isfinite().all()) for value in after.values())
