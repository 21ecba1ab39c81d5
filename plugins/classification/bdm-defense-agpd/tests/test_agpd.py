"""Gradients against finite differences, angles by hand, and a planted class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_defense_agpd.detection import by_class
from bdm_defense_agpd.gradients import angles, directions, layers_of, mean_directions, spreads
from bdm_defense_agpd.params import AgpdParams
from bdm_defense_agpd.peeling import BINS, change, gap, peel
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.feature_maps import watched
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import RowDetectorConformance
from bdm_kit_classification.testing.planted import plant
from bdm_kit_classification.training.fitting import predict


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


class TestPublishedRule(RowDetectorConformance):
    plugin = "agpd"
    params = {"rule": "class", "class_threshold": 0.1, "epochs": 1, "batch_size": 10}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_directions(share: float, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit rows around one axis, of which a share lies around another; the clean direction; which these are."""
    poisoned = torch.arange(300) < share * 300
    rows = 0.1 * normal(300, 12, seed=seed)
    rows[:, 0] += (~poisoned).double()
    rows[:, 1] += poisoned.double()
    clean = torch.eye(12, dtype=torch.float64)[0]
    return torch.nn.functional.normalize(rows, dim=1), clean, poisoned


def test_gap_is_the_root_mean_square_of_the_differences_of_cosines() -> None:
    units, clean, _ = two_directions(0.2)
    values, axis = units.numpy(), clean.numpy()
    least = values[(values @ axis).argmin()]
    others = np.delete(values, (values @ axis).argmin(), 0)
    expected = np.linalg.norm(others @ axis - others @ least) / np.sqrt(300)
    assert gap(units, clean) == pytest.approx(expected)
    assert gap(units, clean) > 1.5 * gap(*two_directions(0.0)[:2])


def test_changes_are_scipy_s_jensen_shannon_distances() -> None:
    before, after = normal(200, seed=1).sigmoid(), normal(150, seed=2).sigmoid() ** 2
    bins = np.linspace(0, 1, BINS + 1)
    histograms = [np.histogram(values.numpy(), bins)[0] for values in (before, after)]
    assert change(before, after) == pytest.approx(jensenshannon(*histograms), abs=1e-9)
    assert change(before, before) == 0 and change(before, before[:0]) == 1


@pytest.mark.parametrize("share", [0.2, 0.3])
def test_planted_rows_are_peeled_off_and_shuffled_flags_are_not(share: float) -> None:
    units, clean, poisoned = two_directions(share)
    found = peel(units, clean, 0.05)
    assert bool((found.rounds >= 0).all()) and found.until > 0
    flagged = found.rounds < found.until
    assert 2 * float((flagged & poisoned).sum()) / float(flagged.sum() + poisoned.sum()) > 0.9
    shuffled = poisoned[torch.randperm(300, generator=torch.Generator().manual_seed(4))]
    assert 2 * float((flagged & shuffled).sum()) / float(flagged.sum() + shuffled.sum()) < share + 0.15


def test_pooled_gradients_are_means_over_places() -> None:
    classifier, rows = (
        build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b", "c"]), seed=0),
        samples(),
    )
    layers = layers_of(classifier)
    ((_, whole),) = directions(classifier, rows, layers)
    ((_, pooled),) = directions(classifier, rows, layers, pooled=True)
    channels = classifier.prunable_layers()[0].units
    mean = whole[0].reshape(6, channels, -1).mean(2)
    torch.testing.assert_close(pooled[0], mean / mean.norm(dim=1, keepdim=True))


def test_clean_rows_that_the_model_gets_wrong_give_no_direction_of_the_published_rule(tmp_path: Path) -> None:
    planted = plant(tmp_path / "planted")
    classifier, reserve = load_classifier(planted.model), open_samples(planted.reserve)
    right = reserve.pick(predict(classifier, reserve).classes == reserve.labels)
    wrong = right.pick(list(range(30)))
    wrong = replace(wrong, labels=(wrong.labels + 1) % 4)

    def scores(name: str, clean: LabelledSamples) -> list[float]:
        rows, layers = open_samples(planted.training), layers_of(classifier)
        return by_class(new_context(tmp_path / name), AgpdParams(rule="class"), classifier, layers, rows, clean).scores

    assert scores("both", right.followed_by(wrong)) == scores("right", right)
    with pytest.raises(UserError, match="gets none right"):
        scores("wrong", wrong)
