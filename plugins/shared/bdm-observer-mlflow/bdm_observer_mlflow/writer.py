"""A run as one of MLflow, by its client: nothing of the machine, the user or the command line is added."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_tracking.tracking import missing

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from bdm_observer_mlflow.params import MLflowParams

FILE = "mlflow.db"
"""Beside the runs: MLflow's own database of files is no longer developed."""
BATCH = 100
"""MLflow takes so many settings in one request."""


class MLflowRun:
    """A :class:`bdm_tracking.tracking.Writer`.

    Args:
        client: of the server or folder.
        experiment: the experiment's name; made if it does not exist.
        name: the run's name.
    """

    def __init__(self, client: MlflowClient, experiment: str, name: str) -> None:
        self._client = client
        found = client.get_experiment_by_name(experiment)
        number = client.create_experiment(experiment) if found is None else found.experiment_id
        self._run = client.create_run(number, run_name=name, tags={"mlflow.source.name": "bdm"}).info.run_id

    def settings(self, values: dict[str, str | int | float | bool]) -> None:
        """Settings are parameters."""
        from mlflow.entities import Param

        every = [Param(name, str(value)) for name, value in values.items()]
        for start in range(0, len(every), BATCH):
            self._client.log_batch(self._run, params=every[start : start + BATCH])

    def number(self, name: str, value: float, step: int) -> None:
        """A number is a metric."""
        self._client.log_metric(self._run, name, value, timestamp=int(time.time() * 1000), step=step)

    def close(self, status: str, notes: dict[str, str]) -> None:
        """Notes are tags; the run is FINISHED, or FAILED."""
        for name, text in notes.items():
            self._client.set_tag(self._run, name, text)
        self._client.set_terminated(self._run, "FINISHED" if status == "complete" else "FAILED")


def open_writer(params: MLflowParams, folder: Path, name: str) -> MLflowRun:
    """The writer of a run. MLflow's own reports on its use are off, unless the environment says otherwise.

    Raises:
        UserError: MLflow is not installed.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise missing("mlflow", "MLflow", error) from None
    place = params.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _beside(folder)
    return MLflowRun(MlflowClient(place), params.experiment, name)


def _beside(folder: Path) -> str:
    return f"sqlite:///{folder.resolve().parent / FILE}"
