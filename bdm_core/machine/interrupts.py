"""Ctrl-C and SIGTERM: a run that is told to stop says so in its record before it ends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: a batch system, ``docker stop`` or ``kill`` asked the process to end."""


def exit_code(error: KeyboardInterrupt) -> int:
    """128 plus the signal's number, as shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


def raise_on_sigterm() -> None:
    """Let SIGTERM raise :class:`Terminated` in the main thread, as Ctrl-C raises KeyboardInterrupt.

    Where SIGTERM is ignored, or somebody else handles it already, that stays.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """While this is open, SIGINT and SIGTERM do nothing; for the few writes that end a run.

    A launcher may pass on a signal that the terminal has sent to all its processes already.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's business
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
