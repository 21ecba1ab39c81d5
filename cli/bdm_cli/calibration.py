"""Let a defense write its calibration file from clean models."""

from __future__ import annotations

import os
import tempfile
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


def write_calibration(spec: RunSpec, models: list[str], file: Path, out: Path) -> list[str]:
    """Write a defense's calibration file, in one step when it is complete.

    Args:
        spec: ``spec.detect`` names the defense; task, kit, parameters, seed and device count too.
        models: references of clean models; empty for all built-in ones of the task.
        file: the file to write; an older one is replaced.
        out: folder of the store, where the models are opened.

    Returns:
        The references of the models.

    Raises:
        BdmError: as :func:`bdm_core.run.runner.scan`; or the defense has no calibration, or failed.
    """
    if not spec.detect:
        raise UserError("no defense to calibrate: name one (bdm plugins list --kind defense)")
    cell = prepare(spec.model_copy(update={"detectors": []}))
    loaded = cell.detector
    assert loaded is not None
    defense: Defense = loaded.plugin
    if type(defense).calibrate is Defense.calibrate:
        raise PluginError(f"{loaded.id} has no calibration: its threshold does not come from clean models")
    references = models or [item["name"] for item in built_in("models", cell.task)]
    if not references:
        raise UserError(f"no built-in models for task {cell.task}: name clean models, --model REF")
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
