"""NAB's filter: shares counted by hand, and a planted backdoor that the stamp covers or does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bdm_core.artifacts import Model
from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_core.testing.tiny import Bench
from bdm_defense_nab.filter_params import NabFilterParams
from bdm_defense_nab.filtering import Filtered, filtered, measure
from bdm_defense_nab.training import stamping
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.image_folder import InputStamp
from bdm_kit_classification.testing.planted import SIZE, Planted, plant
from bdm_kit_classification.testing.subjects import keeping, planted_subject


def with_stamp(model: Model, folder: Path, stamp: InputStamp) -> Model:
    return seal_classifier(stamping(load_classifier(model), stamp), folder)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


class TestNabFilter(MetricConformance):
    plugin = "nab-filter"
    params = {"samples": 8}

    def row(self, bench: Bench, role: Any, **more: Any) -> Subject:
        """Rows of a model that stamps its inputs: of others there is nothing to measure."""
        stamp = InputStamp(size=2, value=0.0)
        stamped = bench.once("stamped", lambda: with_stamp(bench.model, self._folder(bench, "stamped"), stamp))
        return super().row(bench, role, **{"model": stamped, **more})


def measured(subject: Subject, folder: Path) -> dict[str, float | None]:
    ctx, _ = keeping(folder)
    return {item.metric: item.value for item in measure(ctx, NabFilterParams(), subject)}


def test_of_a_model_without_a_stamp_nothing_is_measured(planted: Planted, tmp_path: Path) -> None:
    assert measured(planted_subject(planted, tmp_path / "rows"), tmp_path / "ctx") == {}
    assert filtered(load_classifier(planted.model), planted.clean) is None


def test_the_filter_turns_away_what_the_stamp_changes(planted: Planted, tmp_path: Path) -> None:
    """Where the stamp covers the trigger, every attack changes its class with it; elsewhere none does."""
    corner, above = SIZE - 1 - 3, InputStamp(size=3, value=0.15)  # the trigger: 3x3, a pixel from the edges
    over = InputStamp(size=3, top=corner, left=corner, value=0.15)
    covering = with_stamp(planted.model, tmp_path / "covering", over)
    found = measured(planted_subject(planted, tmp_path / "one", model=covering), tmp_path / "first")
    assert found["b_rej"] > 0.95 and found["dsr"] > 0.95 and found["asr"] < 0.05
    assert found["c_rej"] < 0.05 and found["psr"] > 0.95
    beside = with_stamp(planted.model, tmp_path / "beside", above)
    found = measured(planted_subject(planted, tmp_path / "two", model=beside), tmp_path / "second")
    assert found["b_rej"] < 0.05 and found["asr"] > 0.95 and found["dsr"] < 0.05


def test_shares_are_counted_as_in_the_authors_evaluation(planted: Planted, tmp_path: Path, monkeypatch) -> None:
    """Answers of random classes, some taken back: rates by counting rows one after another."""
    generator = torch.Generator().manual_seed(0)
    seen: list[tuple[Any, Filtered]] = []

    def random_answers(classifier: Any, samples: Any) -> Filtered:
        count = len(samples)
        classes = torch.randint(4, (count,), generator=generator)
        seen.append((samples, Filtered(classes, torch.rand(count, generator=generator) < 0.3)))
        return seen[-1][1]

    monkeypatch.setattr("bdm_defense_nab.filtering.filtered", random_answers)
    found = measured(planted_subject(planted, tmp_path / "rows"), tmp_path / "ctx")
    (clean, of_clean), (bad, of_bad) = seen
    rows = list(zip(of_clean.classes.tolist(), of_clean.rejected.tolist(), clean.labels.tolist(), strict=True))
    assert found["c_rej"] == sum(gone for _, gone, _ in rows) / len(rows)
    assert found["psr"] == sum(said == label and not gone for said, gone, label in rows) / len(rows)
    rows = list(zip(of_bad.classes.tolist(), of_bad.rejected.tolist(), bad.labels.tolist(), strict=True))
    assert found["b_rej"] == sum(gone for _, gone, _ in rows) / len(rows)
    assert found["dsr"] == sum(said == label or gone for said, gone, label in rows) / len(rows)
    assert found["asr"] == sum(said == 0 and not gone for said, gone, _ in rows) / len(rows)
