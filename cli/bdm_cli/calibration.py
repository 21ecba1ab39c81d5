"""Let a defense write its calibration file from clean models."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.discovery.tasks import built_in
from bdm_core.errors import BdmError, PluginError, StageError, UserError
from bdm_core.plugin import Defense
from bdm_core.run.cell import open_model
from bdm_core.run.preparation import prepare
from bdm_core.run.specification import RunSpec, stage_seed
from bdm_core.run.stages import StageRunner
from bdm_core.store.store import Store

STAGE = "calibrate"
EVERY = 10.0
"""Seconds between two lines of progress."""


class Progress:
    """Says in a line how far the work is: at once, and then every ten seconds.

    Args:
        say: takes the line.
        clock: seconds.

    >>> now = iter([0.0, 4.0, 12.0])
    >>> progress = Progress(print, lambda: next(now))
    >>> for step in (1, 2, 3):
    ...     progress("invert", step, 3, None)
    invert 1/3
    invert 3/3
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock, self._next = say, clock, -math.inf

    def __call__(self, label: str, done: int, total: int, loss: float | None) -> None:
        now = self._clock()
        if now >= self._next:
            self._next = now + EVERY
            self._say(f"{label} {done}/{total}")


def write_calibration(
    spec: RunSpec, models: list[str], file: Path, out: Path, say: Callable[[str], None] = lambda line: None
) -> list[str]:
    """Write a defense's calibration file, in one step when it is complete.

    Args:
        spec: ``spec.detect`` names the defense; task, kit, parameters, seed and device count too.
        models: references of clean models; empty for all built-in ones of the task.
        file: the file to write; an older one is replaced.
        out: folder of the store, where the models are opened.
        say: takes one line about how far the work is.

    Returns:
        The references of the models.

    Raises:
        BdmError: as :func:`bdm_core.run.runner.scan`; or the defense has no calibration, or failed.
    """
    if not spec.detect:
        raise UserError("no defense to calibrate: name one (bdm plugins list defense)")
    cell = prepare(spec.model_copy(update={"detectors": []}))
    loaded = cell.detector
    assert loaded is not None
    defense: Defense = loaded.plugin
    if type(defense).calibrate is Defense.calibrate:
        raise PluginError(f"{loaded.id} has no calibration: its threshold does not come from clean models")
    references = models or [item["name"] for item in built_in("models", cell.task)]
    if not references:
        raise UserError(f"no built-in models for task {cell.task}: name clean models, --model REF")
    if len(references) < defense.least_clean_models:
        raise UserError(
            f"{loaded.id} needs at least {defense.least_clean_models} clean models for a calibration, not "
            f"{len(references)}: repeat --model, or leave it out for the built-in models"
        )
    kind = "models" if models else "built-in models"
    say(f"calibrating {loaded.id} on {len(references)} {kind} taken for clean")
    store = Store(out)
    store.prepare()
    stages = StageRunner(store, spec.seed, cell.device, cell.kit, cell.observers)
    opened: dict[str, Model] = {name: open_model(cell, stages, name, f"model {name}") for name in references}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bdm-calibrate-", dir=file.parent) as temporary:
            folder = Path(temporary)
            for name in ("out", "work"):
                (folder / name).mkdir()
            seed = stage_seed(spec.seed, STAGE, loaded.id)
            kit = cell.kit.params.for_stage(STAGE)
            ctx = Context(folder / "out", folder / "work", seed, cell.device, STAGE, kit, stages.log)
            ctx = replace(ctx, on_progress=Progress(say))
            written = folder / file.name
            defense.calibrate(ctx, loaded.params, opened, written)
            if not written.is_file():
                raise PluginError(f"{loaded.id} wrote no calibration file")
            os.replace(written, file)  # noqa: PTH105 - one step
    except BdmError:
        raise
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror or error}") from error
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise StageError(f"{loaded.id} failed while calibrating: {reason}") from error
    return references
