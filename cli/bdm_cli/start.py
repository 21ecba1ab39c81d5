"""Where the program ``bdm`` begins. Ctrl-C ends it quietly while its modules are still being imported."""

import os
import signal
import threading

PATIENCE = 10.0
"""Seconds that threads of plugins get to end after the command has ended."""


def main() -> None:
    """Run the command line, see :func:`bdm_cli.main.main`. Threads that plugins leave behind do not keep it."""
    waiting = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if waiting:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from bdm_cli.main import main as command_line

    if waiting:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        command_line()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        _end_soon(code)


def _end_soon(code: int) -> None:
    """See to it that the process ends with this code, whatever plugins have left to be done at its end.

    Threads that the interpreter would wait for get :data:`PATIENCE` seconds.
    """
    here, leave = os.getpid(), os._exit
    os._exit = lambda status: leave(code if os.getpid() == here else status)
    left = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    if left:
        timer = threading.Timer(PATIENCE, _leave, [code])
        timer.daemon = True
        timer.start()


def _leave(code: int) -> None:
    os.write(2, b"warning: threads that a plugin started do not end: they are ended now\n")
    os._exit(code)
