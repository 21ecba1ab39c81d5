"""SIGTERM and Ctrl-C during a run: an honest record, the exit code of shells, and the same command continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bdm_cli.interrupts import Terminated, exit_code, raise_on_sigterm
from bdm_core.machine.interrupts import undisturbed

TOY = Path(__file__).parent / "toy"
SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
from bdm_cli.main import main
main()
"""
COMMAND = [
    sys.executable,
    "-c",
    SCRIPT,
    "run",
    "--attack",
    "toy",
    "--defense",
    "toy",
    "--device",
    "cpu",
    "--quiet",
    "--data-share",
    "0.5",
    "--name",
    "one",
    "--set",
    "attack:toy.steps=40",
    "--no-report",
]


def _start(folder: Path, pause: float) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(TOY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [*COMMAND, "--set", f"attack:toy.pause={pause}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _record(folder: Path) -> dict[str, object]:
    record: dict[str, object] = json.loads((folder / "runs/one/run.json").read_text())
    return record


def _digests(folder: Path) -> dict[str, list[str]]:
    return {entry["label"]: entry["digests"] for entry in json.loads((folder / "runs/one/stages.json").read_text())}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_told_to_stop_says_so_and_continues_later(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = _start(tmp_path, pause=0.1)
    checkpoints: list[Path] = []
    deadline = time.monotonic() + 60
    while not checkpoints and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
        checkpoints = list(tmp_path.glob("runs/store/.work/*/work/checkpoint.json"))
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (code, "")
    assert errors == "interrupted: finished stages are kept; the same command continues where this one stopped\n"
    record = _record(tmp_path)
    assert (record["status"], record["error"]) == ("failed", "interrupted")
    assert record["finished"] and record["stage_seeds"]
    assert "model" in _digests(tmp_path), "finished stages are listed"
    step = json.loads(checkpoints[0].read_text())["step"]
    assert 0 < step < 40
    assert not list(tmp_path.glob("runs/store/.work/*.lease")) and not (tmp_path / "runs/one/.lease").exists()
    again = _start(tmp_path, pause=0.1)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert _record(tmp_path)["status"] == "complete"
    (tmp_path / "undisturbed").mkdir()
    assert _start(tmp_path / "undisturbed", pause=0.1).wait(timeout=120) == 0
    assert _digests(tmp_path) == _digests(tmp_path / "undisturbed")


def test_a_second_signal_does_not_disturb_the_last_writes() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with undisturbed():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    inside: list[bool] = []

    def elsewhere() -> None:
        with undisturbed():
            inside.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert inside == [True]


def test_sigterm_is_raised_unless_somebody_handles_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise_on_sigterm()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise_on_sigterm()
        with pytest.raises(Terminated) as caught:
            os.kill(os.getpid(), signal.SIGTERM)
        assert (exit_code(caught.value), exit_code(KeyboardInterrupt())) == (143, 130)
    finally:
        signal.signal(signal.SIGTERM, before)
