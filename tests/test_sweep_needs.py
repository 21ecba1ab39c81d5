"""What a task needs: declared by its plugin, recorded by the store, or a GPU for a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_site import FakeSite
from sweep_toys import TOY

from bdm_core.errors import UserError
from bdm_core.run.specification import RunSpec
from bdm_sweep import needs
from bdm_sweep.graph import Task
from bdm_sweep.local_executor import LocalExecutor
from bdm_sweep.needs import Needs, declared_by
from bdm_sweep.plan import plan_of
from bdm_sweep.survey import survey
from bdm_sweep.sweeping import Telling, carry_out
from bdm_sweep.times import Times
from bdm_sweep.work import perform

DECLARING = """
from bdm_core import Attack, hookimpl
class Large(Attack):
    name = "large"
    tasks = frozenset({"toy"})
    resources = {"inject-backdoor": {"gpus": 2, "memory_gib": 24, "hours": 8, "wishes": 1}, "*": {"cpus": 2}}
    @hookimpl
    def inject_backdoor(self, ctx, params, model): ...
"""
CPU = RunSpec(attack="large", device="cpu")


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, fake_site: FakeSite) -> None:
    monkeypatch.syspath_prepend(str(TOY))
    entries = {"bdm.attacks": {"large": "bdm_large:Large"}, "bdm.tasks": {"toy.large": "bdm_large:Large"}}
    fake_site.install("bdm-large", entries, {"bdm_large": DECLARING})
    declared_by.cache_clear()


def task(stage: str, plugin: str = "attack:large", label: str = "x") -> Task:
    return Task(0, "key", label, stage, (plugin,) if label else (), 0)


def test_what_is_declared_counts() -> None:
    found = Needs(Times(), here=True).of(task("inject-backdoor"), CPU)
    assert found == {"cpus": 1.0, "gpus": 2.0, "memory": 24 * 2**30, "hours": 8.0}
    assert Needs(Times(), here=True).of(task("poison-data"), CPU) == {"cpus": 2.0, "gpus": 0.0}


def test_recorded_memory_counts_where_it_is_more() -> None:
    times = Times()
    times.add("inject-backdoor", ["attack:large"], 1.0, 30 * 2**30)
    times.add("detect", ["defense:toy"], 1.0, 5)
    assert Needs(times, here=True).of(task("inject-backdoor"), CPU)["memory"] == 30 * 2**30
    assert Needs(times, here=True).of(task("detect", "defense:toy"), CPU) == {"cpus": 1.0, "gpus": 0.0, "memory": 5.0}


def test_a_gpu_is_needed_where_the_device_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu, auto = (CPU.model_copy(update={"device": device}) for device in ("cuda", "auto"))
    monkeypatch.setattr(needs, "choose_device", lambda wanted: "cuda")
    toy = task("detect", "defense:toy")
    assert Needs(Times(), here=False).of(toy, on_gpu)["gpus"] == 1.0
    assert Needs(Times(), here=True).of(toy, auto)["gpus"] == 1.0
    assert Needs(Times(), here=False).of(toy, auto)["gpus"] == 0.0
    assert Needs(Times(), here=True).of(task("run", label=""), on_gpu)["gpus"] == 0.0


def test_a_plugin_that_is_not_here_declares_nothing() -> None:
    assert declared_by("attack:elsewhere", "detect") == {}


def test_an_engine_that_a_worker_lacks_fails_at_the_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The observer's engine is there where the sweep is planned, and not where its stages run."""
    from bdm_toy.observer import ToyObserver

    plan = {"attacks": ["toy"], "defenses": ["toy"], "seeds": "0-2", "options": {"device": "cpu", "observers": ["toy"]}}

    class Elsewhere(LocalExecutor):
        here = False

        def open(self, params: Any, folder: Path) -> None:
            self.tasks: list[dict[str, Any]] = []

        def capacity(self) -> int:
            return 1

        def submit(self, tasks: list[dict[str, Any]]) -> None:
            self.tasks += tasks

        def collect(self, seconds: float) -> list[tuple[int, dict[str, Any]]]:
            def lacking(observer: object) -> None:
                raise UserError('the engine of observer:toy is not installed: pip install "bdm-toy[engine]"')

            with monkeypatch.context() as patch:
                patch.setattr(ToyObserver, "check_engine", lacking, raising=False)
                done = [(task["number"], perform(task)) for task in self.tasks]
            self.tasks = []
            return done

        def close(self) -> None: ...

    executor = Elsewhere()
    found = survey(plan_of(plan), tmp_path, here=False)
    done = carry_out(found, tmp_path, executor, LocalExecutor.Params(), Telling())
    assert len(done.failed) == 3 and done.computed == 0
    assert set(done.failed.values()) == {'the engine of observer:toy is not installed: pip install "bdm-toy[engine]"'}
    assert not list((tmp_path / "store").glob("*/??/*")), "nothing was computed"
