"""Code of strangers runs in this process: what it must not get away with."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from typing import Any

from bdm_core.errors import BdmError, PluginError


class Ended(Exception):
    """Foreign code raised what is no ordinary error, e.g. SystemExit: whoever asked it has not been answered."""


@contextlib.contextmanager
def foreign_code() -> Iterator[None]:
    """While this is open, ``os._exit`` and ``os.exec*`` raise here; afterwards the working folder is as before.

    Processes that are forked meanwhile end as usual.

    Raises:
        Ended: the code raised something that ``except Exception`` lets through, other than KeyboardInterrupt.
    """
    here, folder, kept = os.getpid(), _folder(), {name: getattr(os, name) for name in ("_exit", "execv", "execve")}

    def refuse(name: str, *arguments: Any) -> Any:
        raise SystemExit(f"os.{name}({arguments[0]!r})") if os.getpid() == here else kept[name](*arguments)

    vars(os).update({name: functools.partial(refuse, name) for name in kept})
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise Ended(f"{type(error).__name__}: {error}") from error
    finally:
        vars(os).update(kept)
        if os.getpid() != here:  # a child that the code forked and did not end
            os._exit(0)
        if folder is not None and _folder() != folder:
            os.chdir(folder)


@contextlib.contextmanager
def asked(what: str) -> Iterator[None]:
    """:func:`foreign_code` whose failures are one line.

    Args:
        what: the line's beginning, e.g. ``kit:toy failed to list its models``.

    Raises:
        PluginError: the code failed. An error that is a line already stays as it is.
    """
    try:
        with foreign_code():
            yield
    except BdmError:
        raise
    except Exception as error:
        raise PluginError(f"{what}: {described(error)}") from error


def described(error: BaseException) -> str:
    """An error of foreign code in one line: its class and message."""
    try:
        message = str(error)
    except Exception as second:
        message = f"its message raised {type(second).__name__}"
    return " ".join((message if isinstance(error, Ended) else f"{type(error).__name__}: {message}").split())


def text_of(record: logging.LogRecord) -> str:
    """The message of a log record, whatever its arguments are."""
    try:
        return record.getMessage()
    except Exception:
        return str(record.msg)


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - compared, not used
    except OSError:  # it was removed
        return None
