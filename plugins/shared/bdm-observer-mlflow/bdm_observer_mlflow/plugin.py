"""The plugin: observer hooks that forward a run to MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core import Observer, hookimpl
from bdm_observer_mlflow.params import MLflowParams

if TYPE_CHECKING:
    from bdm_tracking.tracking import Tracking


class MLflow(Observer):
    """Forwards a run to MLflow."""

    name = "mlflow"
    summary = "A run's settings, losses, times and results as a run of MLflow"
    Params = MLflowParams

    def __init__(self) -> None:
        self._tracking: Tracking | None = None

    def check_engine(self) -> None:
        """Raises UserError if MLflow is not installed."""
        from bdm_tracking.tracking import check_installed

        check_installed("mlflow", "MLflow")

    @property
    def tracking(self) -> Tracking:
        """The run that is forwarded, made at the first event."""
        if self._tracking is None:
            from bdm_observer_mlflow.writer import open_writer
            from bdm_tracking.tracking import Tracking

            self._tracking = Tracking(open_writer)
        return self._tracking

    @hookimpl
    def run_started(self, params: MLflowParams, folder: Path, record: dict[str, Any]) -> None:
        """Begin a run there, with its settings."""
        self.tracking.started(params, folder, record)

    @hookimpl
    def stage_progress(self, stage: str, label: str, done: int, total: int, loss: float | None) -> None:
        """Forward a loss."""
        self.tracking.progress(stage, label, (done, total), loss)

    @hookimpl
    def stage_finished(self, stage: str, seconds: float, cached: bool) -> None:
        """Forward the time that a stage took."""
        self.tracking.stage(stage, seconds, cached)

    @hookimpl
    def run_finished(self, record: dict[str, Any], results: list[dict[str, Any]]) -> None:
        """Forward numbers and verdicts, and end the run there."""
        self.tracking.finished(record, results)
