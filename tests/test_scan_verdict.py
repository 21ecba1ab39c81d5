"""What the detectors of a scan say together, and what is said beside it."""

import json
from pathlib import Path

import pytest

from bdm_cli.overall import answer, remarks
from bdm_core.errors import UserError
from bdm_results.view import RunView


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([("backdoored", 0.01), ("clean", 0.5)], "backdoored"),
        ([("backdoored", 0.01), ("clean", 0.5), ("clean", None)], "backdoored"),
        ([("backdoored", None), ("clean", 0.5)], "clean"),
        ([("backdoored", None), ("clean", None)], "not identifiable"),
        ([("backdoored", None), ("backdoored", 0.01)], "backdoored"),
        ([("clean", 0.5), ("not identifiable", None)], "clean"),
        ([("clean", None), ("not identifiable", None)], "clean"),
        ([("not identifiable", 0.5)], "not identifiable"),
        ([], ""),
    ],
)
def test_the_verdict_of_all_detectors(tmp_path: Path, verdicts: list[tuple[str, float | None]], expected: str) -> None:
    detections = {str(number): {"verdict": word, "p_value": p} for number, (word, p) in enumerate(verdicts)}
    record = {"schema_version": 2, "status": "complete", "spec": {}, "plugins": {}, "detections": detections, "seed": 0}
    (tmp_path / "run.json").write_text(json.dumps({**record, "task": "toy-task", "not_checked": {}}))
    (tmp_path / "results.jsonl").write_text("")
    view = RunView(tmp_path)
    assert view.verdict == expected
    found = answer(view)
    known = [p for word, p in verdicts if p is not None and word != "not identifiable"]
    assert found["p_value_corrected"] == (min(1, min(known) * len(known)) if known else None)


def test_who_could_be_calibrated_and_is_not_decides_nothing(tmp_path: Path) -> None:
    plugins = {"defense:fixed": {"least_clean_models": 3}, "defense:plain": {"least_clean_models": 1}}
    record = {"schema_version": 2, "status": "complete", "spec": {}, "plugins": plugins, "seed": 0, "task": "toy-task"}
    (tmp_path / "results.jsonl").write_text("")
    for fixed, plain, expected in (
        ("clean", "not identifiable", "not identifiable"),
        ("backdoored", "clean", "clean"),
        ("clean", "backdoored", "not identifiable"),
    ):
        detections = {"fixed": {"verdict": fixed}, "plain": {"verdict": plain}}
        (tmp_path / "run.json").write_text(json.dumps({**record, "detections": detections, "not_checked": {}}))
        assert RunView(tmp_path).verdict == expected
    strange = {"defense:fixed": {"least_clean_models": "many"}}
    (tmp_path / "run.json").write_text(json.dumps({**record, "plugins": strange, "detections": {}, "not_checked": {}}))
    with pytest.raises(UserError, match="no valid least_clean_models"):
        RunView(tmp_path)


def test_what_found_nothing_without_a_calibration_is_named() -> None:
    found = {"checked": [{"detector": "a", "verdict": "clean", "calibrated": False}], "verdict": "not identifiable"}
    assert remarks(found) == ["a found nothing without a calibration on clean models, which alone is no verdict"]
