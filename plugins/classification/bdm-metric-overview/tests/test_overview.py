"""Numbers counted by hand, and the layers of a known network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bdm_core.testing import MetricConformance
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing.planted import Planted, plant
from bdm_kit_classification.testing.subjects import keeping, planted_subject
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_metric_overview.measure import damages, measure, spokes, worst
from bdm_metric_overview.params import OverviewParams
from bdm_metric_overview.said import Said
from bdm_metric_overview.structure import layers_of


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


class TestOverview(MetricConformance):
    plugin = "overview"


def said(classes: list[int], labels: list[int]) -> Said:
    return Said(torch.nn.functional.one_hot(torch.tensor(classes), 3).double(), torch.tensor(labels))


def test_the_worst_class_and_its_damage() -> None:
    before, after = said([0, 0, 1, 2], [0, 0, 1, 2]), said([0, 1, 2, 2], [0, 0, 1, 2])
    assert worst(after) == 0.0 and damages(before, after) == {0: 0.5, 1: 1.0, 2: 0.0}


def test_spokes_point_outwards() -> None:
    rule = LabelRule(kind="all-to-one", classes=3, target=0)
    found = spokes(rule, said([0, 1, 1], [0, 1, 2]), said([0, 1, 2, 2], [1, 1, 2, 2]))
    assert found == {"ACC": 2 / 3, "worst class": 0.0, "R-Acc": 0.75, "1 - ASR": 0.75, "1 - confidence": 0.75}


def test_layers_and_parameters_are_those_of_the_network(planted: Planted) -> None:
    classifier = load_classifier(planted.model)
    layers = layers_of(classifier, (1, 16, 16))
    assert sum(layer[3] for layer in layers) == sum(value.numel() for value in classifier.parameters())
    assert layers[0][:3] == ("network.convs.0", "Conv2d", (16, 16, 16)) and layers[-1][1:3] == ("Linear", (4,))


def test_a_repaired_row_has_damage_and_structure(planted: Planted, tmp_path: Path) -> None:
    ctx, kept = keeping(tmp_path / "ctx")
    plain = planted_subject(planted, tmp_path / "subject")
    given = plain.model_copy(update={"role": "repaired", "before": [plain.on_clean, plain.on_triggered]})
    numbers = {item.metric: item.value for item in measure(ctx, OverviewParams(), given)}
    assert numbers["worst_class_damage"] == 0.0 and numbers["target_confidence"] == pytest.approx(1, abs=1e-2)
    assert set(kept["tables"]) == {"structure of the network", "damage by class"}
    assert set(kept["pictures"]) == {"Confusion matrix", "Radar", "Structure of the network", "Damage by class"}
