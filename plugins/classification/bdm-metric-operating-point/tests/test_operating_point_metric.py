"""The curve of a sweep whose best point is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bdm_core.artifacts import Outputs
from bdm_core.records import Measurement, Subject
from bdm_core.testing import MetricConformance
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import seal_samples
from bdm_kit_classification.defending.pruning import Sweep, in_order, prune_to
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import Backdoor, seal_secret
from bdm_kit_classification.testing.planted import TARGET, Planted, plant, trigger
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_metric_operating_point.measure import measure
from bdm_metric_operating_point.params import OperatingPointMetricParams


def swept(sweep: Sweep, chosen: int, model: Any, folder: Path) -> dict[str, Any]:
    """What a run tells of a repair that kept this sweep."""
    kept: dict[str, Any] = {}
    prune_to(new_context(folder, on_figures=kept.update), load_classifier(model), sweep, chosen)
    return {"repaired model": {"seconds": 1.0, "figures": kept}}


class TestOperatingPoint(MetricConformance):
    plugin = "operating-point"
    params = {"samples": 8}

    def rows(self, bench: Any) -> dict[str, Subject]:
        sweep = in_order([("network.norms.0", 0), ("network.norms.1", 1)], [1, 2])
        more = {"undefended": bench.model, "stages": swept(sweep, 0, bench.model, bench.folder("sweep"))}
        return super().rows(bench) | {"pruned model": self.row(bench, "repaired", **more)}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


def subject(planted: Planted, folder: Path, sweep: Sweep | None, chosen: int = -1) -> Subject:
    classes = list(planted.clean.classes)
    folder.mkdir()
    (folder / "rows.jsonl").write_text("")
    outputs = Outputs.seal(folder, format="test", task=planted.model.task)
    rule = LabelRule(kind="all-to-one", classes=len(classes), target=TARGET)
    return Subject(
        role="repaired",
        model=planted.model,
        on_clean=outputs,
        on_triggered=outputs,
        reference=seal_samples(folder / "data", planted.clean.pick([0]), parts={"test": planted.clean}),
        secret=seal_secret(folder / "secret", Backdoor(rule, trigger()), planted.clean.pick([1]), 0),
        undefended=planted.model,
        stages=swept(sweep, chosen, planted.model, folder / "sweep") if sweep else {},
    )


def measured(found: list[Measurement]) -> dict[str, float | None]:
    return {item.metric: item.value for item in found}


def test_the_best_point_is_found_whatever_was_chosen(planted: Planted, tmp_path: Path) -> None:
    units = list(planted.units.items())
    every = [("network.norms.3", number) for number in range(64) if number != units[3][1]]
    sweep = in_order([("network.norms.3", every[0][1]), *units, *every[1:]], [1, 2, 5, 68])
    kept: dict[str, Any] = {}
    found = measure(
        new_context(tmp_path / "ctx", on_figures=kept.update),
        OperatingPointMetricParams(),
        subject(planted, tmp_path / "subject", sweep, chosen=3),
    )
    assert measured(found) == {"best_accuracy": 1.0, "best_asr": 0.0, "best_der": 1.0}
    assert all("upper bound" in item.label and not item.measures for item in found)
    rows = kept["tables"]["sweep of the pruning"]["rows"]
    assert [(row[0], row[2]) for row in rows] == [(None, 1.0), (1.0, 1.0), (2.0, 0.0), (5.0, 0.0), (68.0, 0.0)]
    assert rows[2][3] == "best point by test DER, about an upper bound" and rows[4][3] == "chosen by the defense"
    assert rows[4][1] < 0.5 and rows[0][3] == "undefended"


def test_rows_without_a_sweep_say_nothing(planted: Planted, tmp_path: Path) -> None:
    assert (
        measure(
            new_context(tmp_path / "ctx"), OperatingPointMetricParams(), subject(planted, tmp_path / "subject", None)
        )
        == []
    )
