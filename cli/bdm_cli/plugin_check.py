"""What is wrong with a plugin: it is loaded in a process of its own, so that nothing it does ends the check."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from bdm_cli.console import foreign_code, one_line
from bdm_cli.plugin_page import describe

if TYPE_CHECKING:
    from bdm_core.discovery.candidates import Candidate

SOUND = b"."
"""What the process writes if there is nothing wrong."""


def complaint_about(candidate: Candidate) -> str:
    """One line on what is wrong with a plugin; "" if nothing is."""
    if not hasattr(os, "fork"):
        return _complaint(candidate)
    import bdm_core.hooks  # noqa: F401 - once, not in every child

    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.close(receiving)
            os.write(sending, _complaint(candidate).encode("utf-8", "replace") or SOUND)
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as stream:
        said = stream.read()
    _, status = os.waitpid(child, 0)
    if not said:
        return f"it ended the process while it was loaded (exit status {os.waitstatus_to_exitcode(status)})"
    return "" if said == SOUND else said.decode("utf-8", "replace")


def _complaint(candidate: Candidate) -> str:
    from bdm_core.errors import BdmError
    from bdm_core.machine.foreign import described

    try:
        with foreign_code():
            describe(candidate)
    except BdmError as error:
        return one_line(str(error))
    except Exception as error:
        return f"plugin {candidate.id}: {described(error)}"
    return ""
