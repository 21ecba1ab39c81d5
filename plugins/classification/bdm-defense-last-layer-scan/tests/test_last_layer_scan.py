"""The scan of the last layer: NumPy, a planted weight, "cannot tell" without clean models, and conformance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_last_layer_scan.params import LastLayerScanParams
from bdm_defense_last_layer_scan.scan import calibrate, detect
from bdm_defense_last_layer_scan.statistics import centred, head_statistics
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import ClassifierDefenseConformance

NAMES = [str(label) for label in range(10)]


def network(seed: int, planted: int | None = None, width: int = 4):
    classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=NAMES, width=width), seed)
    if planted is not None:
        with torch.no_grad():
            classifier.head.weight[planted, :3] += 2.0
    return classifier


def test_statistics_are_those_of_numpy() -> None:
    weight = np.random.default_rng(0).normal(size=(10, 16))
    found, suspect = head_statistics(torch.tensor(weight))
    unit = np.sqrt((weight**2).mean())
    largest = np.sort(weight.max(1) / unit)[::-1]
    mass = np.maximum(weight, 0).sum(1)
    assert found == pytest.approx((largest[0], mass.max() / mass.mean(), largest[0] - largest[1]))
    assert suspect == mass.argmax()
    assert head_statistics(torch.tensor(7 * weight))[0] == pytest.approx(found), "the scale must not matter"
    assert centred(torch.tensor(weight)).numpy() == pytest.approx(weight - weight.mean(0))


@pytest.fixture
def calibration(tmp_path):
    """Of ten clean networks, to be asked with the context of a stage."""
    models = {f"clean-{seed}": seal_classifier(network(seed), tmp_path / f"clean-{seed}") for seed in range(10)}
    (tmp_path / "work").mkdir()
    calibrate(Context(out=tmp_path, work=tmp_path / "work", seed=0), LastLayerScanParams(), models, tmp_path / "c.json")
    return LastLayerScanParams(calibration=str(tmp_path / "c.json"), false_positive_rate=0.01)


def test_a_planted_weight_is_found(calibration, tmp_path) -> None:
    ctx = Context(out=tmp_path, work=tmp_path, seed=0)
    found = detect(ctx, calibration, seal_classifier(network(50, planted=7), tmp_path / "bad"))
    assert found.verdict == "backdoored" and "class 7" in found.note
    clean = detect(ctx, calibration, seal_classifier(network(51), tmp_path / "good"))
    assert clean.scores[0] < found.scores[0] and clean.verdict == "clean"


def test_a_model_of_another_kind_cannot_be_told(calibration, tmp_path) -> None:
    ctx = Context(out=tmp_path, work=tmp_path, seed=0)
    found = detect(ctx, calibration, seal_classifier(network(0, planted=1, width=6), tmp_path / "wider"))
    assert found.verdict == "not identifiable" and "24 to 10" in found.note


def test_two_classes_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="needs 3, this model has 2") as caught:
        head_statistics(torch.ones(2, 4))
    assert "\n" not in str(caught.value)


class TestLastLayerScan(ClassifierDefenseConformance):
    plugin = "last-layer-scan"
