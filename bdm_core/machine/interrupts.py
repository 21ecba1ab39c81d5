"""Ctrl-C and SIGTERM: a run that is told to stop writes its record before it ends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
