"""Code of strangers runs in this process: what it must not get away with."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def foreign_code() -> Iterator[None]:
    """While this is open, ``os._exit`` raises SystemExit in this process; afterwards the working folder is as before.

    Processes that are forked meanwhile end as usual.
    """
    here, leave, folder = os.getpid(), os._exit, _folder()

    def refuse(status: int) -> Any:
        if os.getpid() != here:
            leave(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave
        if folder is not None and _folder() != folder:
            os.chdir(folder)


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - compared, not used
    except OSError:  # it was removed
        return None
