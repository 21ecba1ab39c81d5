"""The executor ``local`` satisfies what every executor must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sweep_toys import TOY

from bdm_core.plugin import Executor
from bdm_core.testing import ExecutorConformance
from bdm_sweep.local_executor import LocalExecutor


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))


class TestLocal(ExecutorConformance):
    plugin = LocalExecutor
    cell = {"attack": "toy", "device": "cpu"}

    def test_entry_point(self) -> None:
        """It is part of bdm."""
        assert LocalExecutor.__module__.startswith("bdm_sweep.")


class Forgetful(LocalExecutor):
    """Loses what a task says."""

    def collect(self, seconds: float) -> list[tuple[int, dict[str, Any]]]:
        return [(number, {"status": "done"}) for number, _ in super().collect(seconds)]


class Repeating(LocalExecutor):
    """Gives every outcome twice."""

    def collect(self, seconds: float) -> list[tuple[int, dict[str, Any]]]:
        return [item for item in super().collect(seconds) for _ in range(2)]


@pytest.mark.parametrize(("wrong", "said"), [(Forgetful, "is 'done'"), (Repeating, "has two outcomes")])
def test_what_is_wrong_is_caught(wrong: type[Executor], said: str, tmp_path: Path) -> None:
    tests = type("Tests", (ExecutorConformance,), {"plugin": wrong})()
    with pytest.raises(AssertionError, match=said):
        tests.test_every_task_has_one_outcome(tmp_path)
