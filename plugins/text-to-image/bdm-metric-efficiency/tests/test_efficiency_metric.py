"""Conformance, and the change against NumPy on a pipeline with planted edits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_core.testing.tiny import Bench
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_metric_efficiency.measure import change_of, measure


class TestEfficiencyConformance(MetricConformance):
    plugin = "efficiency"

    def rows(self, bench: Bench) -> dict[str, Subject]:
        """The usual rows, and a repaired model beside an undefended one."""
        return {
            **super().rows(bench),
            "repaired beside undefended": self.row(bench, "repaired", undefended=bench.model),
        }


def test_a_planted_edit_is_found(tmp_path: Path) -> None:
    model = tiny_model()
    undefended = seal_model(model, tmp_path / "before")
    before = {name: value.clone() for name, value in model.unet.state_dict().items()}
    with torch.no_grad():
        weight = model.unet.conv_in.weight
        weight[0] += 0.5
    repaired = seal_model(model, tmp_path / "after")
    subject = Subject.model_construct(role="repaired", model=repaired, undefended=undefended)
    found = {item.metric: item for item in measure(subject)}
    after = model.unet.state_dict()
    old = np.concatenate([value.double().numpy().ravel() for value in before.values()])
    new = np.concatenate([after[name].double().numpy().ravel() for name in before])
    assert found["changed_parameters_unet"].value == pytest.approx((old != new).mean())
    assert found["changed_parameters_unet"].n == old.size
    assert found["relative_change_unet"].value == pytest.approx(np.linalg.norm(new - old) / np.linalg.norm(old))
    assert found["changed_parameters_vae"].value == 0 == found["relative_change_vae"].value
    assert 0 < (found["relative_change"].value or 0) < (found["relative_change_unet"].value or 0)


def test_other_shapes_have_no_relative_change() -> None:
    ones = torch.ones(2, 3)
    found = change_of({"a": ones, "b": ones}, {"a": ones, "b": torch.ones(4, 3)})
    assert (found.share, found.relative) == (0.5, None)
    assert change_of({"a": ones}, {"a": ones, "c": ones}).relative is None
    gone = change_of({"a": ones, "b": ones}, {"a": ones})
    assert (gone.share, gone.added) == (0.5, 0)


def test_other_rows_have_nothing_to_compare() -> None:
    assert measure(Subject.model_construct(role="backdoored", undefended=None)) == []
