"""Curves and maps whose form is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bdm_core.testing import MetricConformance
from bdm_kit_classification.testing.planted import CLASSES, Planted, plant
from bdm_kit_classification.testing.subjects import keeping, planted_subject
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_metric_boundary.measure import measure
from bdm_metric_boundary.params import BoundaryParams
from bdm_metric_boundary.plane import classes_on, plane
from bdm_torch.analysis.showing import kept_array


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


class TestBoundary(MetricConformance):
    plugin = "boundary"
    params = {"samples": 8, "strengths": 3, "points": 5, "maps": 1}


def test_the_map_of_a_linear_classifier_is_cut_where_it_decides() -> None:
    clean, triggered, target = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.5, 1.0]]])
    grid, places = plane(clean, triggered, target, 31)
    assert places.tolist() == [[0, 0], [1, 0], [0.5, 1]]
    flat = grid.reshape(31, 31, 2)
    said = classes_on(lambda x: torch.stack([0.501 - x[:, 0, 0, 0], x[:, 0, 0, 0] - 0.501], 1), grid).reshape(31, 31)
    assert torch.equal(said, (flat[..., 0] > 0.501).long())


def test_a_planted_trigger_works_from_its_threshold_on(planted: Planted, tmp_path: Path) -> None:
    ctx, kept = keeping(tmp_path / "ctx")
    found = measure(ctx, BoundaryParams(points=11, maps=2), planted_subject(planted, tmp_path / "subject"))
    numbers = {item.metric: item.value for item in found}
    rates = kept_array(kept, "ASR by strength")
    assert rates[0] < 0.1 and rates[5] == 1.0  # at strength 1
    assert numbers["strength_half"] is not None and 0.2 < numbers["strength_half"] < 1
    area = float((rates[:6].sum() - (rates[0] + rates[5]) / 2) / 5)
    assert numbers["asr_over_strength"] == pytest.approx(area, abs=1e-3)
    assert numbers["target_area"] is not None and numbers["target_area"] > 0.2
    assert kept["arrays"]["decision map 1"]["shape"] == [11, 11]
    assert set(kept["pictures"]) == {"Sensitivity to the trigger's strength", "Decision boundary"}


def test_an_untargeted_attack_has_no_target_class_to_map(planted: Planted, tmp_path: Path) -> None:
    ctx, kept = keeping(tmp_path / "ctx")
    rule = LabelRule(kind="untargeted", classes=len(CLASSES))
    found = measure(ctx, BoundaryParams(points=5, maps=1), planted_subject(planted, tmp_path / "subject", rule))
    assert {item.metric for item in found} == {"strength_half", "asr_over_strength"}
    assert "untargeted" in kept["left_out"] and "Decision boundary" not in kept["pictures"]
