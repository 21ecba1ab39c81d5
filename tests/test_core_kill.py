"""kill -9 at any moment, two processes at once, and several ranks: always the digests of an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "toy"
SCRIPT = """
import json, sys
from pathlib import Path
from bdm_core.run.runner import run
from bdm_core.run.specification import RunSpec
params = {"attack:toy": {"steps": 40, "pause": float(sys.argv[2])}}
spec = RunSpec(attack="toy", detect="toy", repair="toy", device="cpu", data_share=0.5, params=params)
view = run(spec, Path(sys.argv[1]))
computed = sum(not entry["cached"] for entry in view.stages)
print(json.dumps([{entry["label"]: entry["digests"] for entry in view.stages}, computed]))
"""


def _start(out: Path, pause: float, **environment: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(TOY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out), str(pause)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> tuple[dict[str, list[str]], int]:
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    digests, computed = json.loads(text)
    return digests, computed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return _finish(_start(tmp_path_factory.mktemp("undisturbed"), 0.02))[0]


def _checkpoints(out: Path) -> list[Path]:
    return list(out.glob("store/.work/*/work/checkpoint.json"))


def test_a_run_killed_again_and_again_gives_the_same_digests(tmp_path: Path, undisturbed: dict[str, list[str]]) -> None:
    for wait in (0.0, 0.05, 0.2, 0.4):
        process = _start(tmp_path, 0.02)
        deadline = time.monotonic() + 60
        while not _checkpoints(tmp_path) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
    digests, _ = _finish(_start(tmp_path, 0.02))
    assert digests == undisturbed
    assert not list((tmp_path / "store" / ".work").iterdir())


def test_a_run_killed_while_it_starts_leaves_nothing_in_the_way(
    tmp_path: Path, undisturbed: dict[str, list[str]]
) -> None:
    for wait in (0.1, 0.3, 0.5):
        process = _start(tmp_path, 0.02)
        time.sleep(wait)
        process.kill()
        process.wait()
    digests, _ = _finish(_start(tmp_path, 0.02))
    assert digests == undisturbed


def test_two_processes_share_the_work(tmp_path: Path, undisturbed: dict[str, list[str]]) -> None:
    processes = [_start(tmp_path, 0.02), _start(tmp_path, 0.02)]
    (one, first), (two, second) = (_finish(process) for process in processes)
    assert one == two == undisturbed
    _, alone = _finish(_start(tmp_path / "alone", 0.02))
    assert first + second == alone  # no stage was computed twice


def test_further_ranks_take_part_and_publish_nothing(tmp_path: Path, undisturbed: dict[str, list[str]]) -> None:
    ranks = [
        _start(tmp_path, 0.02, RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT="29511", WORLD_SIZE="2")
        for rank in range(2)
    ]
    (main, computed), (other, followed) = (_finish(process) for process in ranks)
    assert main == other == undisturbed
    assert computed > 0 and followed == 0
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".rank")] == []
