"""What a hook gets beside its inputs: where to write, the seed, the device, progress and a log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core.errors import PluginError
from bdm_core.files import finite

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Outputs
    from bdm_core.plugin import Params

ProgressCallback = Callable[[str, int, int, float | None], None]


def _silent(label: str, done: int, total: int, loss: float | None) -> None:
    return None


def _refuse(inputs: Data) -> Outputs:
    raise PluginError("this plugin asks for the model's predictions: its class must declare the access 'predictions'")


@dataclass(frozen=True)
class Context:
    """Handed to every hook.

    Attributes:
        out: an empty folder; whatever the hook leaves is written below it, in subfolders that it seals.
        work: a folder that survives a killed process and is deleted when the stage is complete: checkpoints go here.
            Under ``accelerate launch`` a further rank reads its own copy of it, as it was when that rank joined.
        seed: a non-negative 63-bit seed for this stage and plugin; all randomness derives from it.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        stage: name of the stage.
        kit: the task kit's parameters, as they count for this stage; None without a kit.
        log: a logger; warnings reach the terminal and the run's log.
        rank: this process among those that ``accelerate launch`` started; only what rank 0 writes counts. The others
            enter a hook only if its plugin says ``distributed``.

    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=7, on_progress=lambda *step: print(step))
    >>> ctx.progress("train", 1, 10, loss=0.5)
    ('train', 1, 10, 0.5)
    >>> ctx.device, ctx.rank
    ('cpu', 0)
    """

    out: Path
    work: Path
    seed: int
    device: str = "cpu"
    stage: str = ""
    kit: Params | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("bdm"))
    rank: int = 0
    on_progress: ProgressCallback = _silent
    on_figures: Callable[[dict[str, Any]], None] = lambda figures: None
    on_query: Callable[[Data], Outputs] = _refuse

    def query(self, inputs: Data) -> Outputs:
        """Ask the model as a black box: its outputs for inputs that the defense sealed below ``ctx.work``.

        The kit runs the model as it is in use, with the parameters of the stage ``generate``. How many inputs it was
        asked about is kept in the stage's figures as ``queries``.

        Raises:
            PluginError: the defense does not declare the access ``predictions``.
        """
        return self.on_query(inputs)

    def progress(self, label: str, done: int, total: int, loss: float | None = None) -> None:
        """Report that ``done`` of ``total`` steps of ``label`` are finished; call as often as convenient.

        Args:
            label: what is going on in a word or two, e.g. ``train``, ``sample``.
            done: steps finished, 0 to ``total``.
            total: steps in all.
            loss: the current loss if there is one.
        """
        self.on_progress(label, done, total, loss)

    def figures(self, **figures: Any) -> None:
        """Keep facts about the stage beside its artifacts, e.g. ``loss=[...]`` for the report's loss curves.

        They are recorded with the stage (also when it comes from the store later) and shown to no other hook but
        metrics that say ``sees_stages``.
        Values must be JSON; NaN and infinity become None.
        """
        figures = finite(figures)
        json.dumps(figures, allow_nan=False)
        self.on_figures(figures)

    def curve(self, name: str, values: Sequence[float]) -> None:
        """Shorthand: keep one loss curve, a value per step, under ``curves``."""
        self.figures(curves={name: [float(value) for value in values]})
