"""A network whose backdoor sits in known units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bdm_core.testing import MetricConformance
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing.planted import Planted, plant
from bdm_kit_classification.testing.subjects import keeping, planted_subject
from bdm_metric_neuron_analysis.measure import measure
from bdm_metric_neuron_analysis.params import NeuronAnalysisParams
from bdm_metric_neuron_analysis.visualisation import favourite
from bdm_torch.analysis.showing import kept_array


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


class TestNeuronAnalysis(MetricConformance):
    plugin = "neuron-analysis"
    params = {"samples": 8, "steps": 2, "pictures": 1}


def test_planted_units_change_most(planted: Planted, tmp_path: Path) -> None:
    ctx, kept = keeping(tmp_path / "ctx")
    found = measure(ctx, NeuronAnalysisParams(steps=2), planted_subject(planted, tmp_path / "subject"))
    numbers = {item.metric: item.value for item in found}
    names = [layer.name for layer in load_classifier(planted.model).prunable_layers()]
    for name, unit in zip(names, planted.units.values(), strict=True):
        assert int(kept_array(kept, f"TAC of {name}").argmax()) == unit
    assert numbers["tac_ratio"] is not None and numbers["tac_ratio"] > 5
    assert numbers["activation_shift"] is not None and numbers["activation_shift"] > 1
    assert set(kept["pictures"]) == {
        "TAC",
        "TAC and Lipschitz bound",
        "Activation",
        "Distribution of activation",
        "Feature maps",
        "Feature visualisation",
    }
    kernel = load_classifier(planted.model).prunable_layers()[1]
    weight = kernel.layer.weight.detach().double().numpy()  # type: ignore[operator, union-attr]
    norm: Any = kernel.norm
    steep = [np.linalg.svd(one.reshape(len(one), -1), compute_uv=False)[0] for one in weight]
    scale = (norm.weight.abs() / (norm.running_var + norm.eps).sqrt()).detach().double().numpy()
    assert np.allclose(kept_array(kept, f"Lipschitz bound of {names[1]}"), steep * scale, rtol=1e-3)


def test_a_unit_is_excited_by_its_favourite(planted: Planted) -> None:
    classifier = load_classifier(planted.model)
    layer, unit = classifier.prunable_layers()[0], next(iter(planted.units.values()))
    found = favourite(classifier, layer, unit, (1, 16, 16), 40)
    grey = torch.full((1, 1, 16, 16), 0.5)
    answers = []
    layer.norm.register_forward_hook(lambda module, given, made: answers.append(float(made[0, unit].mean())))  # type: ignore[union-attr]
    with torch.no_grad():
        classifier(grey), classifier(found[None])
    assert answers[1] > answers[0] and float(found.min()) >= 0 and float(found.max()) <= 1
