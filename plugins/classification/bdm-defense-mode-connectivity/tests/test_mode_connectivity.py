"""Mode connectivity."""

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from bdm_core.testing.tiny import new_context
from bdm_defense_mode_connectivity.curve import Curve
from bdm_defense_mode_connectivity.params import ModeConnectivityParams
from bdm_defense_mode_connectivity.repair import learn_curve, parameters_of, point
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.normalisation import refresh_statistics

TINY = {"epochs": 2, "batch_size": 10, "learning_rate": 1e-3, "end_epochs": 1, "end_rate": 1e-2}


class TestModeConnectivity(ClassifierDefenseConformance):
    plugin = "mode-connectivity"
    task = "image-classification"


class TestOnePoint(ClassifierDefenseConformance):
    plugin = "mode-connectivity"
    task = "image-classification"
    params = {**TINY, "points": [0.1]}
    max_change = 1.0  # its statistics are those of a few rows


def test_curve_is_bernstein():
    """Against the sum of the three Bernstein polynomials, and its tangents at the ends."""
    w1, w, w2 = (torch.randn(4, generator=torch.Generator().manual_seed(seed)).double() for seed in range(3))
    curve = Curve({"w": w1}, {"w": w2})
    for t in (0.0, 0.1, 0.5, 1.0):
        bernstein = [(1 - t) ** 2, 2 * t * (1 - t), t**2]
        wanted = sum(b * v for b, v in zip(bernstein, (w1, w, w2), strict=True))
        assert torch.allclose(curve.at(t, {"w": w})["w"], wanted) and sum(bernstein) == pytest.approx(1)
    slope = (curve.at(1e-6, {"w": w})["w"] - w1) / 1e-6
    assert torch.allclose(slope, 2 * (w - w1), atol=1e-4)


def test_ends_of_the_curve_are_the_two_models(tmp_path, bdm_bench):
    bench = bdm_bench("image-classification")
    rows, given = open_samples(bench.shared), load_classifier(bench.model)
    before = parameters_of(given)
    curve, middle = learn_curve(new_context(tmp_path), ModeConnectivityParams(**TINY), given, rows)
    x = rows.raw()
    refresh_statistics(given, rows)
    assert torch.allclose(point(curve, middle, 0.0, rows)(x), given(x), atol=1e-5)
    end = point(curve, middle, 1.0, rows)
    assert all(torch.equal(value, curve.end[name]) for name, value in parameters_of(end).items())
    assert any(not torch.equal(value, before[name]) for name, value in curve.end.items())
    assert all(torch.equal(value, before[name]) for name, value in curve.start.items())


def test_the_curve_runs_lower_than_the_straight_line(tmp_path, bdm_bench):
    """What is learnt is the mean loss over the curve, not that at one of its points."""
    bench = bdm_bench("image-classification")
    rows, given = open_samples(bench.shared), load_classifier(bench.model)
    params = {"epochs": 10, "batch_size": 20, "learning_rate": 0.1, "end_epochs": 1, "end_rate": 0.05}
    curve, middle = learn_curve(new_context(tmp_path), ModeConnectivityParams(**params), given, rows)
    straight = copy.deepcopy(middle)
    with torch.no_grad():
        for name, value in straight.named_parameters():
            value.copy_((curve.start[name] + curve.end[name]) / 2)

    def loss(centre, t):
        with torch.no_grad():
            return float(nn.functional.cross_entropy(point(curve, centre, t, rows)(rows.raw()), rows.labels))

    assert all(loss(middle, t) < loss(straight, t) for t in (0.25, 0.5, 0.75))


def test_refreshed_statistics_are_those_of_the_rows(bdm_bench):
    bench = bdm_bench("image-classification")
    rows, classifier = open_samples(bench.shared), load_classifier(bench.model)
    refresh_statistics(classifier, rows, batch_size=len(rows))
    first = classifier.network.norms[0]
    seen = classifier.network.convs[0](classifier.prepare(rows.raw())).transpose(0, 1).flatten(1)
    assert torch.allclose(first.running_mean, seen.mean(1), atol=1e-5)
    assert torch.allclose(first.running_var, seen.var(1), rtol=1e-4) and first.momentum == 0.1


def test_a_short_last_batch_counts_no_more_than_others(bdm_bench):
    """Ten rows, eight at a time, are five and five: the mean of both means is that of all rows, whatever the order."""
    bench = bdm_bench("image-classification")
    rows, classifier = open_samples(bench.shared).pick(range(10)), load_classifier(bench.model)
    rows = rows.pick(rows.raw().mean((1, 2, 3)).argsort())
    refresh_statistics(classifier, rows, batch_size=8)
    seen = classifier.network.convs[0](classifier.prepare(rows.raw())).transpose(0, 1).flatten(1)
    assert torch.allclose(classifier.network.norms[0].running_mean, seen.mean(1), atol=1e-5)
    uneven = torch.stack([part.mean(1) for part in seen.tensor_split([seen.shape[1] * 8 // 10], dim=1)]).mean(0)
    assert not torch.allclose(uneven, seen.mean(1), atol=1e-3)


@pytest.mark.parametrize("points", [[0.2, 0.1], [0.5, 1.5], [0.1, 0.1]])
def test_points_rise(points):
    with pytest.raises(ValidationError, match="rise"):
        ModeConnectivityParams(points=points)
