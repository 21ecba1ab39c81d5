"""Open a model by its task's kit, as ``bdm scan`` will: what ``bdm import`` does before it says that it is done."""

from __future__ import annotations

import shutil
from pathlib import Path

from bdm_core.context import Context
from bdm_core.discovery.candidates import scoped
from bdm_core.discovery.tasks import choose_kit, kits_by_task
from bdm_core.errors import BdmError, UserError
from bdm_core.hooks import call
from bdm_core.machine.foreign import asked


def read_back(folder: Path, task: str, work: Path, shown: Path) -> bool:
    """Whether an installed kit opened a model; False if none that may be loaded serves its task.

    Args:
        folder: of the model.
        task: its task.
        work: a folder for what the kit writes; it is removed again.
        shown: what the user calls the folder, for the message.

    Raises:
        UserError: the kit cannot open it.
    """
    if not any(item.allowed() for item in kits_by_task().get(task, [])):
        return False
    kit = choose_kit(task).load()
    places = out, kept = work / "out", work / "work"
    try:
        for place in places:
            place.mkdir(parents=True)
        params = kit.Params()
        ctx = Context(out, kept, seed=0, stage="open-model", kit=params)
        with asked(f"kit {kit.name!r} cannot open {shown}"):
            call(scoped(kit), "open_model", ctx=ctx, params=params, reference=str(folder))
    except BdmError as error:
        raise UserError(str(error).replace(str(folder), str(shown))) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return True
