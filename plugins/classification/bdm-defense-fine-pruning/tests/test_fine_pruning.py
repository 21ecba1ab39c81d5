"""Fine-pruning of a network whose backdoor sits in a feature that clean rows never use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from bdm_core.testing.tiny import new_context
from bdm_defense_fine_pruning.params import FinePruningParams
from bdm_defense_fine_pruning.plugin import FinePruning
from bdm_defense_fine_pruning.pruning import prune, silent_first
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.planted import Planted, plant
from bdm_kit_classification.training.fitting import predict


class TestFinePruning(ClassifierDefenseConformance):
    plugin = "fine-pruning"
    max_change = 20.0


class TestFinePruningOnTexts(TestFinePruning):
    task = "text-classification"


class TestFinePruningOnSound(TestFinePruning):
    task = "audio-classification"


class TestSoundPreset(TestFinePruningOnSound):
    """Fine-tuning at ten times the default rate."""

    params: ClassVar[dict[str, Any]] = {**FinePruning.presets["sound"], "epochs": 1, "batch_size": 10, "points": 10}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


def test_features_are_in_the_order_of_their_mean_activation(planted: Planted) -> None:
    classifier, rows = load_classifier(planted.model), open_samples(planted.reserve)
    sweep = silent_first(classifier, rows, points=64)
    mean = predict(classifier, rows).features.abs().mean(0).numpy()
    order = [step["network.head"][0] for step in sweep.steps]
    assert sorted(order) == list(range(64)) and (mean[order][1:] >= mean[order][:-1]).all()


@pytest.mark.parametrize("fine_tune", [False, True])
def test_the_planted_feature_goes_and_stays_away(planted: Planted, tmp_path: Path, fine_tune: bool) -> None:
    assert planted.measured(planted.model) == (1.0, 1.0)
    kept: dict[str, Any] = {}
    ctx = new_context(tmp_path / "ctx", on_figures=kept.update)
    params = FinePruningParams(fine_tune=fine_tune, epochs=2, batch_size=30, learning_rate=0.01)
    repaired = prune(ctx, params, planted.model, planted.reserve)
    unit = planted.units["network.norms.3"]
    chosen = [step["network.head"] for step in kept["sweep"]["steps"][: kept["sweep"]["chosen"] + 1]]
    assert unit in [number for step in chosen for number in step]
    accuracy, success = planted.measured(repaired)
    assert accuracy >= 0.9 and success <= 0.1
    assert not load_classifier(repaired).head.weight[:, unit].any()
