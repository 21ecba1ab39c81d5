"""The plugin as a whole: conformance, verdicts on models, error rates on inputs."""

from __future__ import annotations

import itertools
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
    **more: Any,
) -> dict[str, Measurement]:
    (root / "file.json").write_text("{}")

    def sealed(cls: Any) -> Any:
        return cls.seal(root, format="test", task="any", meta={"count": 6})

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
            **more,
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
    assert found["fpr"].value == pytest.approx(1 / 3) and found["fpr"].higher_is_better is False
    assert found["auroc"].value == pytest.approx(4 / 6)
    assert [found[name].n for name in ("tpr", "fpr", "auroc")] == [2, 3, 5]
    low, high = figures["intervals"]["tpr"]
    assert low < 0.5 < high


def test_perfect_detector(tmp_path: Path) -> None:
    detection = Detection(level="input", scores=[2, 2, 0, 0], threshold=1)
    found = score(tmp_path, detection, suspects=[True, True, False, False])
    assert [found[name].value for name in ("tpr", "fpr", "auroc")] == [1, 0, 1]


def test_scores_that_do_not_match_the_suspects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 scores for 3 suspects"):
        score(tmp_path, Detection(level="input", scores=[1, 2], threshold=0), suspects=[True, False, False])


def test_rates_over_training_rows(tmp_path: Path) -> None:
    detection = Detection(level="data", scores=[3, 0, 1, 3], threshold=2)
    found = score(tmp_path, detection, suspects=[True, True, False, False])
    assert [found[name].value for name in ("tpr", "fpr", "auroc")] == [0.5, 0.5, 0.375]
    assert "poisoned training rows" in found["tpr"].description and "clean training rows" in found["fpr"].description


def test_rejected_inputs_are_shares_of_all_that_came(tmp_path: Path) -> None:
    found = score(tmp_path, None, "purified", rejected_clean=2, rejected_triggered=18)
    assert [(item.value, item.n, item.on) for item in found.values()] == [(0.25, 8, "clean"), (0.75, 24, "triggered")]
    assert [item.higher_is_better for item in found.values()] == [False, True]
    judged = score(tmp_path, Detection(level="model", scores=[1], threshold=0), "purified")
    assert {"verdict", "rejected_clean", "rejected_triggered"} <= set(judged)


def test_a_filter_of_rows_beside_a_random_and_a_perfect_one(tmp_path: Path) -> None:
    """Of 10 rows 3 are poisoned; 4 are flagged, 2 of them rightly."""
    detection = Detection(level="data", scores=[3, 3, 0, 3, 3, 0, 0, 0, 0, 0], threshold=1)
    found = score(tmp_path, detection, suspects=[True] * 3 + [False] * 7)
    values = {name: found[name].value for name in found if name.startswith(("precision", "f1"))}
    assert values == {
        "precision": 0.5,
        "f1": pytest.approx(4 / 7),
        "precision_random": pytest.approx(0.3),
        "f1_random": pytest.approx(2 * 1.2 / 7),
        "precision_perfect": 0.75,
        "f1_perfect": pytest.approx(6 / 7),
    }
    drawn = [sum(row < 3 for row in rows) for rows in itertools.combinations(range(10), 4)]
    assert sum(drawn) / len(drawn) == pytest.approx(1.2), "by counting all filters of this size"
    nothing = score(tmp_path, Detection(level="data", scores=[0] * 10, threshold=1), suspects=[True] + [False] * 9)
    assert nothing["precision"].value is None and nothing["f1"].value == 0
    assert "f1" not in score(tmp_path, Detection(level="input", scores=[1, 2], threshold=0), suspects=[True, False])


def test_all_rows_that_the_clean_model_was_trained_on_are_clean(tmp_path: Path) -> None:
    detection = Detection(level="data", scores=[0.1, 0.9, 0.2, 0.3], threshold=0.5)
    found = score(tmp_path, detection, "clean")
    assert found["fpr"].value == 0.25 and not {"tpr", "auroc", "f1"} & found.keys()
    with pytest.raises(UserError, match="4 scores for 0 suspects"):
        score(tmp_path, detection)
