"""A tracker that is not installed is said before anything runs, with what to install."""

from __future__ import annotations

import importlib
import sys

import pytest

from bdm_core import UserError
from bdm_core.discovery.candidates import installed
from bdm_core.run.preparation import prepare
from bdm_core.run.specification import RunSpec

TRACKERS = [item for item in installed("observer") if item.name in ("mlflow", "tensorboard", "wandb")]


@pytest.mark.parametrize("tracker", TRACKERS, ids=lambda item: item.name)
def test_a_tracker_without_its_engine_is_an_error_of_the_run(tracker, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, tracker.name, None)
    with pytest.raises(UserError, match=rf"pip install 'bdm-observer-{tracker.name}\[engine\]'") as caught:
        prepare(RunSpec(attack="villan", device="cpu", observers=[tracker.name]))
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    monkeypatch.undo()
    if importlib.util.find_spec(tracker.name) is not None:
        tracker.load().check_engine()
