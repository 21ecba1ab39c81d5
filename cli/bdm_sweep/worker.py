"""A warm worker of the local executor: it performs one task after the other and keeps what it has imported."""

from __future__ import annotations

import json
import os
import signal
import sys
from multiprocessing.connection import Connection
from types import FrameType


def main(handle: int) -> None:
    """Take tasks from a socket and answer with outcomes, until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sweep decides when a worker ends
    signal.signal(signal.SIGTERM, _end)
    connection = Connection(handle)
    from bdm_sweep.work import perform

    while True:
        try:
            task = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        outcome = perform(task)
        sys.stdout.flush()
        try:
            connection.send_bytes(json.dumps(outcome).encode())
        except OSError:
            return


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        main(int(sys.argv[1]))
    except KeyboardInterrupt:
        os._exit(143)
