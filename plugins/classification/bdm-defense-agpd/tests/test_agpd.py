"""Gradients against finite differences, angles by hand, and a planted class."""

from __future__ import annotations

import pytest
import torch

from bdm_core.errors import UserError
from bdm_defense_agpd.gradients import angles, directions, layers_of, mean_directions, spreads
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.feature_maps import watched
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import RowDetectorConformance


class TestAgpd(RowDetectorConformance):
    plugin = "agpd"


class TestUnknownLayer(RowDetectorConformance):
    plugin = "agpd"
    params = {"layer": "network.convs.1", "epochs": 1, "batch_size": 10}

    def test_a_layer_that_is_not_there_is_refused(self, bench) -> None:  # type: ignore[no-untyped-def]
        from bdm_defense_agpd.detection import detect
        from bdm_defense_agpd.params import AgpdParams

        ctx = bench.context("detect")
        with pytest.raises(UserError, match=r"no layer 'conv9': known are network.convs.0"):
            detect(ctx, AgpdParams(layer="conv9"), bench.model, bench.shared, self.suspects(bench))


def samples(count: int = 6) -> LabelledSamples:
    chance = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 256, (count, 1, 8, 8), generator=chance, dtype=torch.uint8)
    return LabelledSamples(pictures, torch.arange(count) % 3, ["a", "b", "c"], "image-classification")


def test_gradients_agree_with_finite_differences() -> None:
    classifier, rows = (
        build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b", "c"]), seed=0),
        samples(),
    )
    layers = layers_of(classifier)
    last = list(layers.values())[-1]
    torch.nn.init.ones_(last.bias)  # far from the kink of the ReLU
    ((labels, found),) = directions(classifier, rows, layers)
    chance = torch.Generator().manual_seed(2)
    step, probe = 1e-3, torch.randn(6, 64, 1, 1, generator=chance)

    def logits(shift: float) -> torch.Tensor:
        with watched([last], lambda module, given, made: made + shift * probe), torch.no_grad():
            return classifier(rows.raw()).gather(1, labels[:, None])[:, 0]

    numeric = (logits(step) - logits(-step)) / (2 * step)
    seen = {}
    with watched([last], lambda module, given, made: seen.setdefault("made", made)):
        total = classifier(rows.raw()).gather(1, labels[:, None]).sum()
    gradient = torch.autograd.grad(total, seen["made"])[0]
    torch.testing.assert_close((gradient * probe).flatten(1).sum(1), numeric, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(found[-1], torch.nn.functional.normalize(gradient.flatten(1), dim=1))


def test_angles_are_those_to_the_class_s_mean_direction() -> None:
    classifier, rows = (
        build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b", "c"]), seed=0),
        samples(9),
    )
    layers = layers_of(classifier)
    means = mean_directions(classifier, rows, layers)
    found = angles(classifier, rows, layers, means)
    ((labels, units),) = directions(classifier, rows, layers)
    for place in range(len(layers)):
        for row in range(9):
            mean = units[place][labels == labels[row]].mean(0)
            cosine = float(units[place][row] @ mean / mean.norm())
            assert float(found[row, place].cos()) == pytest.approx(cosine, abs=1e-5)
    assert found.shape == (9, 4)


def test_a_class_with_a_second_direction_is_the_widest() -> None:
    chance = torch.Generator().manual_seed(3)
    labels = torch.arange(600) % 6
    found = 0.5 + 0.1 * torch.randn(600, 2, generator=chance, dtype=torch.float64)
    poisoned = (labels == 4) & (torch.arange(600) < 200)
    found[poisoned, 1] += 1.0
    spread = spreads(found, labels)
    assert int(spread.amax(0).argmax()) == 1 and int(spread[:, 1].argmax()) == 4 and float(spread[4, 1]) > 7
