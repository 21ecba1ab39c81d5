"""MLflow: a run as the tracker itself reads it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from bdm_core import hooks
from bdm_core.context import Context
from bdm_core.discovery.candidates import scoped
from bdm_core.testing import ObserverConformance
from bdm_core.testing.observer import EVENTS
from bdm_observer_mlflow.plugin import MLflow

pytest.importorskip("mlflow", reason="the tracker is not installed: pip install 'bdm-observer-mlflow[engine]'")


class TestMLflow(ObserverConformance):
    plugin = MLflow

    @pytest.fixture(autouse=True)
    def _in_the_runs_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By default MLflow's runs lie beside the folders of the runs."""
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/a-run/mlflow.db")


def play(place: Path, **params: object) -> None:
    """The events of a run, in order."""
    place.mkdir()
    observer = MLflow()
    manager = scoped(observer)
    for hook, arguments in EVENTS:
        given = {"ctx": Context(place, place, 0), "params": observer.Params(**params), "folder": place}
        hooks.call(manager, hook, **given, **arguments)


def test_mlflow_reads_the_run_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    play(tmp_path / "first", experiment="backdoors")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("backdoors").experiment_id])
    assert run.info.run_name == "first" and run.info.status == "FINISHED"
    assert run.data.params["attack/mine.rate"] == "0.5" and run.data.params["seed"] == "3"
    assert run.data.metrics["backdoored/mine.asr_0.05"] == 0.5
    assert run.data.metrics["loss/backdoored model/train"] == 0.5
    assert run.data.tags["verdict backdoored"] == "clean"
    assert set(run.data.tags) == {"mlflow.runName", "mlflow.source.name", "verdict backdoored"}
