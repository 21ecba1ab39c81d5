"""A run of Weights & Biases, without what it collects by itself: machine, user, code, command line, output."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_tracking.tracking import missing

if TYPE_CHECKING:
    from bdm_observer_wandb.params import WeightsAndBiasesParams

NOTHING_MORE = {
    "console": "off",
    "silent": True,
    "disable_code": True,
    "disable_git": True,
    "save_code": False,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "reinit": "create_new",
}
"""Settings that leave out what was not handed over, and keep runs of one process apart."""


class WandbRun:
    """A :class:`bdm_tracking.tracking.Writer`.

    Args:
        run: as ``wandb.init`` gives it.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self._known: set[str] = set()

    def settings(self, values: dict[str, str | int | float | bool]) -> None:
        """Settings are the run's config."""
        self._run.config.update(values)

    def number(self, name: str, value: float, step: int) -> None:
        """A number over its own count of steps."""
        if name not in self._known:
            self._known.add(name)
            self._run.define_metric(name, step_metric=f"step/{name}")
        self._run.log({name: value, f"step/{name}": step})

    def close(self, status: str, notes: dict[str, str]) -> None:
        """Notes go to the summary; the exit code says whether the run failed."""
        self._run.summary.update(notes)
        self._run.finish(exit_code=0 if status == "complete" else 1)


def open_writer(params: WeightsAndBiasesParams, folder: Path, name: str) -> WandbRun:
    """The writer of a run. Reports on errors of its own are off, unless the environment says otherwise.

    Raises:
        UserError: Weights & Biases is not installed.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb
    except ImportError as error:
        raise missing("wandb", "Weights & Biases", error) from None
    mode = "online" if params.online else "offline"
    settings = wandb.Settings(**NOTHING_MORE)
    return WandbRun(wandb.init(project=params.project, name=name, dir=str(folder), mode=mode, settings=settings))
