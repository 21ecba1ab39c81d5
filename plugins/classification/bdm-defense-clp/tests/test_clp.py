"""Bounds on channels against NumPy, and a planted channel that is steep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_defense_clp.params import ClpParams, SweptClpParams
from bdm_defense_clp.pruning import prune, prune_swept, steepness
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.preactivations import standardised
from bdm_kit_classification.models.channel_bounds import channel_bounds
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.planted import Planted, plant, without_norms


class TestClp(ClassifierDefenseConformance):
    plugin = "clp"
    max_change = 20.0


class TestClpOnTexts(TestClp):
    task = "text-classification"


class TestClpOnSound(TestClp):
    task = "audio-classification"


class TestSweptClp(ClassifierDefenseConformance):
    plugin = "clp-swept"
    max_change = 20.0


class TestSweptClpOnTexts(TestSweptClp):
    task = "text-classification"


class TestSweptClpOnSound(TestSweptClp):
    task = "audio-classification"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


def test_bounds_are_largest_singular_values_times_the_scale(planted: Planted) -> None:
    layer = load_classifier(planted.model).prunable_layers()[1]
    norm, found = layer.norm, channel_bounds(layer).numpy()
    assert norm is not None and norm.running_var is not None
    for unit, kernel in enumerate(layer.layer.weight.detach().double().numpy()):  # type: ignore[operator, union-attr]
        scale = abs(float(norm.weight[unit])) / np.sqrt(float(norm.running_var[unit]) + norm.eps)
        assert found[unit] == pytest.approx(np.linalg.svd(kernel.reshape(len(kernel), -1))[1][0] * scale, rel=1e-5)


def test_a_layer_of_few_channels_has_no_outlier_beyond_a_bound() -> None:
    """Of n values none is more than sqrt(n - 1) deviations above the mean: u = 3 prunes nothing in 10 channels."""
    assert float(standardised(torch.tensor([0.0] * 9 + [1e6], dtype=torch.float64)).max()) <= 3 + 1e-9
    assert float(standardised(torch.tensor([0.0] * 10 + [1e6], dtype=torch.float64)).max()) > 3.1


def test_planted_channels_are_the_steepest_and_are_pruned_without_data(planted: Planted, tmp_path: Path) -> None:
    scores = steepness(load_classifier(planted.model))
    assert {name: int(score.argmax()) for name, score in scores.items()} == planted.units
    kept: dict[str, Any] = {}
    ctx = new_context(tmp_path / "ctx", on_figures=kept.update)
    accuracy, success = planted.measured(prune(ctx, ClpParams(), planted.model))
    assert accuracy >= 0.9 and success <= 0.1
    assert kept["sweep"]["values"][kept["sweep"]["chosen"]] == 3.0


def test_the_sweep_prunes_them_within_the_bound(planted: Planted, tmp_path: Path) -> None:
    repaired = prune_swept(new_context(tmp_path / "ctx"), SweptClpParams(), planted.model, planted.reserve)
    accuracy, success = planted.measured(repaired)
    assert accuracy >= 0.9 and success <= 0.1


def test_without_batch_normalisation_it_is_refused(planted: Planted, tmp_path: Path) -> None:
    model = without_norms(tmp_path / "model")
    with pytest.raises(UserError, match="no batch normalisation"):
        prune(new_context(tmp_path / "ctx"), ClpParams(), model)
    with pytest.raises(UserError, match="no batch normalisation"):
        prune_swept(new_context(tmp_path / "ctx2"), SweptClpParams(), model, planted.reserve)


def test_bounds_of_texts_are_those_of_kernels_alone() -> None:
    texts = ["a film", "so long a play", "not a word of it"] * 8
    samples = LabelledSamples(texts, torch.arange(24) % 2, ["no", "yes"], "text-classification")
    classifier = samples.modality.small_classifier(texts, samples.classes, 0)
    layers = classifier.prunable_layers()
    assert list(steepness(classifier)) == [layer.name for layer in layers]
    kernels = layers[1].layer.weight.detach().double().numpy()  # (units, channels, tokens)
    assert channel_bounds(layers[1]).numpy() == pytest.approx([np.linalg.svd(kernel)[1][0] for kernel in kernels])
