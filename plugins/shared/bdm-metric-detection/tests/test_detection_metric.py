"""The plugin as a whole: conformance, verdicts on models, error rates on inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bdm_core.artifacts import Data, Model, Outputs, Secret
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection, Measurement, Subject
from bdm_core.testing import MetricConformance
from bdm_metric_detection.params import DetectionParams
from bdm_metric_detection.plugin import DetectionMetric


class TestDetectionConformance(MetricConformance):
    plugin = "detection"
    undirected = frozenset({"score", "threshold", "p_value"})


def score(
    root: Path,
    detection: Detection | None,
    role: str = "backdoored",
    suspects: list[bool] | None = None,
    figures: dict[str, Any] | None = None,
) -> dict[str, Measurement]:
    (root / "file.json").write_text("{}")

    def sealed(cls: Any) -> Any:
        return cls.seal(root, format="test", task="any")

    subject = Subject.model_validate(
        {
            "role": role,
            "model": sealed(Model),
            "on_clean": sealed(Outputs),
            "on_triggered": sealed(Outputs),
            "reference": sealed(Data),
            "secret": sealed(Secret),
            "detection": detection,
            "suspects": suspects or [],
        }
    )
    keep = {} if figures is None else figures
    ctx = Context(out=root, work=root, seed=0, on_figures=keep.update)
    return {item.metric: item for item in DetectionMetric().score(ctx, DetectionParams(), subject)}


def test_nothing_to_say_without_a_detection(tmp_path: Path) -> None:
    assert score(tmp_path, None) == {}


@pytest.mark.parametrize(
    ("given", "conclusive", "verdict"), [(0.9, True, 1.0), (0.2, True, 0.0), (0.5, True, 0.0), (0.9, False, None)]
)
def test_verdict_on_a_model(tmp_path: Path, given: float, conclusive: bool, verdict: float | None) -> None:
    detection = Detection(level="model", scores=[given], threshold=0.5, p_value=0.01, conclusive=conclusive)
    found = score(tmp_path, detection)
    assert found["verdict"].value == verdict
    assert [found[name].value for name in ("score", "threshold", "p_value")] == [given, 0.5, 0.01]
    assert {item.on for item in found.values()} == {"model"}


def test_a_verdict_of_backdoored_is_right_on_a_backdoored_model_only(tmp_path: Path) -> None:
    detection = Detection(level="model", scores=[1], threshold=0)
    assert score(tmp_path, detection, "backdoored")["verdict"].higher_is_better is True
    assert score(tmp_path, detection, "clean")["verdict"].higher_is_better is False
    assert "p_value" not in score(tmp_path, detection)


def test_rates_over_inputs(tmp_path: Path) -> None:
    detection = Detection(level="input", scores=[0.9, 0.4, 0.6, 0.1, 0.5], threshold=0.5)
    figures: dict[str, Any] = {}
    found = score(tmp_path, detection, suspects=[True, True, False, False, False], figures=figures)
    assert found["tpr"].value == 0.5
    assert found["tnr"].value == pytest.approx(2 / 3)
    assert found["auroc"].value == pytest.approx(4 / 6)
    assert [found[name].n for name in ("tpr", "tnr", "auroc")] == [2, 3, 5]
    low, high = figures["intervals"]["tpr"]
    assert low < 0.5 < high


def test_perfect_detector(tmp_path: Path) -> None:
    detection = Detection(level="input", scores=[2, 2, 0, 0], threshold=1)
    found = score(tmp_path, detection, suspects=[True, True, False, False])
    assert [found[name].value for name in ("tpr", "tnr", "auroc")] == [1, 1, 1]


def test_scores_that_do_not_match_the_suspects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 scores for 3 suspects"):
        score(tmp_path, Detection(level="input", scores=[1, 2], threshold=0), suspects=[True, False, False])
