"""What a run that is begun again left before: kept in ``earlier`` until it is complete again, so that nothing is lost.

The store may have been deleted meanwhile, the plugins may have changed, and the new attempt may fail.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bdm_core.files import read_json
from bdm_core.store import paths

EARLIER = "earlier"
"""A folder within that of the run. It is read as a run of the name ``NAME/earlier``."""

KEPT = (paths.RUN_RECORD, paths.RESULTS, paths.STAGES, paths.EVENTS, paths.LOG, paths.REPORT)


def keep(folder: Path) -> None:
    """Put the record of a complete run into its ``earlier``; the run is then begun anew.

    Raises:
        OSError: the folder cannot be written; it is as before.
    """
    if not is_complete(folder):
        return
    draft = folder / f".{EARLIER}.{os.getpid()}"
    try:
        draft.mkdir(exist_ok=True)
        for path in (folder / name for name in KEPT if (folder / name).is_file()):
            shutil.copyfile(path, draft / path.name)
        shutil.rmtree(folder / EARLIER, ignore_errors=True)
        draft.rename(folder / EARLIER)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    (folder / paths.RUN_RECORD).unlink()  # a run without numbers is not to look complete at any moment


def drop(folder: Path) -> None:
    """Remove what :func:`keep` kept once the run is complete again."""
    if is_complete(folder):
        shutil.rmtree(folder / EARLIER, ignore_errors=True)


def name_of(folder: Path) -> str:
    """What a run's folder is called: ``NAME``, or ``NAME/earlier``."""
    return f"{folder.parent.name}/{EARLIER}" if folder.name == EARLIER else folder.name


def is_complete(folder: Path) -> bool:
    """Whether a folder holds the record of a run that came to its end."""
    try:
        return bool(read_json(folder / paths.RUN_RECORD)["status"] == "complete")
    except (OSError, ValueError, LookupError, TypeError):
        return False
