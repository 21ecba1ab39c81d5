"""FreeEagle: the cut against the network itself, its numbers in closed form, a planted target, and conformance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_free_eagle.cutting import LaterPart
from bdm_defense_free_eagle.detection import CALIBRATED, Opened, detect, inspect
from bdm_defense_free_eagle.inspection import anomaly, representations, tendencies
from bdm_defense_free_eagle.params import FreeEagleParams
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import ClassifierDefenseConformance


def network(architecture: str, classes: int = 6):
    names = [str(label) for label in range(classes)]
    return build(ImageConfig(architecture=architecture, shape=(1, 8, 8), classes=names, width=4), seed=0)


@pytest.mark.parametrize("architecture", ["cnn", "preact-resnet18", "vgg19-bn"])
@pytest.mark.parametrize("depth", [0.0, 0.5, 1.0])
def test_the_later_part_of_the_networks_own_representation_is_the_network(architecture: str, depth: float) -> None:
    classifier = network(architecture)
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    part = LaterPart(classifier, depth, (1, 8, 8))
    seen = []
    if part._stage is None:
        seen.append(classifier.features(x))
    else:
        handle = part._stage.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        classifier(x)
        handle.remove()
    assert tuple(seen[0].shape[1:]) == part.shape
    assert part(seen[0]).detach().numpy() == pytest.approx(classifier(x).detach().numpy(), abs=1e-6)
    assert not part.rectified or float(seen[0].detach().min()) >= 0


@pytest.mark.parametrize(
    ("architecture", "depth", "rectified"),
    [
        ("cnn", 0.0, False),
        ("cnn", 0.5, True),
        ("cnn", 1.0, True),
        ("vgg19-bn", 0.25, True),
        ("preact-resnet18", 0.5, False),
        ("preact-resnet18", 1.0, True),
        ("preact-resnet18-published", 1.0, False),
    ],
)
def test_only_what_follows_a_relu_is_kept_above_zero(architecture: str, depth: float, rectified: bool) -> None:
    """Of the published ResNet no ReLU follows the last block: its features are negative too."""
    part = LaterPart(network(architecture), depth, (1, 8, 8))
    assert part.rectified == rectified
    found = representations(part, 6, FreeEagleParams(steps=60, learning_rate=0.1), 0, lambda *told: None)
    assert (float(found.min()) >= 0) == rectified


def test_representations_are_optimised_for_their_class() -> None:
    """Whatever the others do: each class's own loss falls, and what comes behind a ReLU stays above zero."""
    part = LaterPart(network("cnn"), 0.5, (1, 8, 8))
    losses = []
    for steps in (1, 200):
        params = FreeEagleParams(steps=steps, learning_rate=0.05, weight_decay=0.0)
        found = representations(part, 6, params, 0, lambda *told: None)
        assert float(found.min()) >= 0
        losses.append(torch.nn.functional.cross_entropy(part(found), torch.arange(6), reduction="none").detach())
    assert bool((losses[1] < losses[0]).all())


def test_one_step_is_adams() -> None:
    """The first step of Adam moves each value by the rate against the sign of its gradient, which autograd has."""
    part = LaterPart(network("cnn"), 1.0, (1, 8, 8))
    start = torch.rand((6, *part.shape), generator=torch.Generator().manual_seed(3)).requires_grad_()
    slope = torch.autograd.grad(
        torch.nn.functional.cross_entropy(part(start), torch.arange(6), reduction="sum"), start
    )[0]
    params = FreeEagleParams(steps=1, learning_rate=0.01, weight_decay=0.0)
    found = representations(part, 6, params, 3, lambda *told: None)
    expected = (start.detach() - 0.01 * slope.sign()).clamp(min=0)
    clear = slope.abs() > 1e-4
    assert found[clear].numpy() == pytest.approx(expected[clear].numpy(), abs=1e-4)


def test_tendency_and_anomaly_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).dirichlet(np.ones(9), 9)
    found = tendencies(torch.tensor(values))
    expected = (values.sum(0) - np.diag(values)) / 8
    assert found.numpy() == pytest.approx(expected)
    ordered = np.sort(expected)
    assert anomaly(found) == pytest.approx((ordered[-1] - ordered[6]) / (ordered[6] - ordered[2]))


def test_a_planted_target_is_named(tmp_path) -> None:
    """A bias towards class 2 in the last layer is what all representations lean to."""
    classifier = network("cnn")
    ctx = Context(out=tmp_path, work=tmp_path, seed=0)
    params = FreeEagleParams(steps=40, learning_rate=0.1)
    clean = inspect(ctx, params, Opened(network("cnn"), (1, 8, 8)))
    with torch.no_grad():
        classifier.head.bias[2] += 2.0
    found = inspect(ctx, params, Opened(classifier, (1, 8, 8)))
    assert int(found.argmax()) == 2 and anomaly(found) > max(2.0, anomaly(clean))


def judged(tmp_path, shape, classes=10, **params):
    names = [str(label) for label in range(classes)]
    model = build(ImageConfig(architecture="cnn", shape=shape, classes=names, width=4), seed=0)
    ctx = Context(out=tmp_path / "out", work=tmp_path, seed=0)
    return detect(ctx, FreeEagleParams(steps=2, **params), seal_classifier(model, tmp_path / "model"))


def test_it_compares_with_clean_models_and_cannot_tell_of_other_kinds_and_settings(tmp_path) -> None:
    path = tmp_path / "calibration.json"
    made_with = {"configuration": CALIBRATED.configuration(FreeEagleParams(steps=2))}
    path.write_text(CALIBRATED.read().model_copy(update=made_with).model_dump_json())
    inside = judged(tmp_path / "a", (1, 28, 28), calibration=str(path))
    clean = CALIBRATED.read().column()
    assert inside.scores[0] < inside.threshold and not inside.conclusive and "no higher score" in inside.note
    assert inside.p_value == (1 + sum(score >= inside.scores[0] for score in clean)) / (1 + len(clean))
    for name, shape, classes in (("b", (1, 8, 8), 10), ("c", (1, 28, 28), 6)):
        outside = judged(tmp_path / name, shape, classes)
        assert not outside.conclusive and outside.p_value is None and "cannot tell" in outside.note
    other = judged(tmp_path / "d", (1, 28, 28))
    assert other.verdict == "not identifiable" and other.p_value is None and "free-eagle.steps=2" in other.note


def test_above_the_clean_models_it_says_backdoored(tmp_path) -> None:
    path = tmp_path / "calibration.json"
    known = CALIBRATED.read()
    made_with = {"configuration": CALIBRATED.configuration(FreeEagleParams(steps=2))}
    low = {"records": [one.model_copy(update={"features": [-1.0 - n]}) for n, one in enumerate(known.records)]}
    path.write_text(known.model_copy(update={**made_with, **low}).model_dump_json())
    found = judged(tmp_path / "a", (1, 28, 28), calibration=str(path))
    assert found.verdict == "backdoored" and found.p_value == 1 / (1 + len(known.records))


def test_a_fixed_threshold_takes_the_place_of_the_calibration(tmp_path) -> None:
    fixed = judged(tmp_path, (1, 8, 8), threshold=2.0)
    assert (fixed.threshold, fixed.p_value, fixed.conclusive) == (2.0, None, True)


def test_few_classes_are_refused_in_one_line(tmp_path) -> None:
    ctx = Context(out=tmp_path, work=tmp_path, seed=0)
    with pytest.raises(UserError, match="needs 5, this model has 3") as caught:
        inspect(ctx, FreeEagleParams(), Opened(network("cnn", 3), (1, 8, 8)))
    assert "\n" not in str(caught.value)


class TestFreeEagle(ClassifierDefenseConformance):
    plugin = "free-eagle"
