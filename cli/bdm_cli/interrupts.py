"""Ctrl-C and SIGTERM: what the command line makes of them."""

from __future__ import annotations

import signal
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: a batch system, ``docker stop`` or ``kill`` asked the process to end."""


class OutputClosed(KeyboardInterrupt):
    """Whoever read standard output went away: the pipe is closed, and the command ends as by SIGPIPE."""


def exit_code(error: KeyboardInterrupt) -> int:
    """128 plus the signal's number, as shells have it: 130 for Ctrl-C, 143 for SIGTERM, 141 for a closed pipe."""
    if isinstance(error, OutputClosed):
        return 128 + signal.SIGPIPE
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


def raise_on_sigterm() -> None:
    """Let SIGTERM raise :class:`Terminated` in the main thread, as Ctrl-C raises KeyboardInterrupt.

    Where SIGTERM is ignored, or somebody else handles it already, that stays.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
