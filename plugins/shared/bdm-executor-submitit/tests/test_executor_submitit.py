"""Sweeps as jobs: submitit's local and debug executors, a stand-in for SLURM with requeues, sbatch scripts."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sweep_toys import TOY, digests

from bdm_core.discovery.candidates import find
from bdm_core.errors import UserError
from bdm_core.testing import ExecutorConformance
from bdm_executor_submitit.jobs import Jobs
from bdm_executor_submitit.params import SlurmParams
from bdm_executor_submitit.plugin import SlurmExecutor
from bdm_sweep import Summary, sweep

needs_submitit = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None or not Path("/proc/self/stat").exists(),
    reason='submitit is not installed: pip install "bdm-executor-submitit[engine]"',
)
HERE = Path(__file__).parent
PLAN: dict[str, Any] = {"attacks": ["toy"], "options": {"device": "cpu", "data_share": 0.5}}
SLOW: dict[str, Any] = {**PLAN, "attacks": [{"name": "toy", "params": {"steps": 30, "pause": 0.05}}]}


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOY), *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SLURM's commands on the path; the folder of their state."""
    state, commands = tmp_path / "slurm", tmp_path / "bin"
    state.mkdir()
    commands.mkdir()
    for name in ("sbatch", "srun", "scontrol", "scancel", "sacct"):
        text = (HERE / "slurm_stand_in.py").read_text(encoding="utf-8")
        (commands / name).write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("SLURM_STAND_IN", str(state))
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    return state


def swept(out: Path, plan: dict[str, Any], **params: Any) -> Summary:
    return sweep(plan, out=out, executor="slurm", params=params)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOY))
        sweep(SLOW, out=folder, params={"workers": 1})
    return digests(folder)


def test_it_is_light_and_found() -> None:
    assert find("executor", "slurm").load().summary == SlurmExecutor.summary
    code = "import sys, bdm_executor_submitit.plugin; print('submitit' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_submitit_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'submitit is not installed: pip install "bdm-executor-submitit\[engine\]"'):
        Jobs(SlurmParams(), tmp_path)


@needs_submitit
def test_without_slurm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"there is no SLURM here"):
        Jobs(SlurmParams(), tmp_path)


@needs_submitit
@pytest.mark.parametrize("cluster", ["debug", "local"])
def test_submitits_own_executors(tmp_path: Path, cluster: str) -> None:
    found = swept(tmp_path, PLAN, cluster=cluster, bundle_seconds=5.0)
    assert (len(found.complete), found.failed) == (1, {})
    assert (found.folder / "jobs").stat().st_mode & 0o777 == 0o700


@needs_submitit
def test_a_requeued_job_continues(tmp_path: Path, slurm: Path, undisturbed: dict[str, Any]) -> None:
    requeued = threading.Thread(target=_announce_the_end, args=(tmp_path, slurm))
    requeued.start()
    found = swept(tmp_path, SLOW)
    requeued.join()
    assert (len(found.complete), found.failed) == (1, {})
    assert digests(tmp_path) == undisturbed
    starts = [len((job / "starts").read_text().split()) for job in slurm.iterdir() if job.is_dir()]
    assert sorted(starts)[-2:] == [1, 2]


def _announce_the_end(out: Path, slurm: Path) -> None:
    """Send the signal that announces the end of a job's time to the job that trains."""
    deadline = time.monotonic() + 60
    while not (found := list(out.glob("store/.work/*/work/checkpoint.json"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    worker = json.loads(Path(f"{found[0].parent.parent}.lease").read_text())["pid"]
    job = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(job, signal.SIGUSR2)


@needs_submitit
def test_a_lost_job_is_submitted_again(tmp_path: Path, slurm: Path, undisturbed: dict[str, Any]) -> None:
    import submitit

    killed: list[str] = []

    def kill_the_job() -> None:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("store/.work/*/work/checkpoint.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        for job in slurm.iterdir():
            if job.is_dir() and not list(tmp_path.glob(f"sweeps/*/jobs/{job.name}/*_result.pkl")):
                killed.append(job.name)
                for pid in _below(int((job / "pid").read_text())):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    watcher, delay = submitit.slurm.slurm.SlurmJob.watcher, "_delay_s"
    before = getattr(watcher, delay)
    setattr(watcher, delay, 1)
    killer = threading.Thread(target=kill_the_job)
    killer.start()
    try:
        found = swept(tmp_path, SLOW)
    finally:
        killer.join()
        setattr(watcher, delay, before)
    assert killed and (len(found.complete), found.failed) == (1, {})
    assert digests(tmp_path) == undisturbed


def _below(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
        except OSError:
            continue
    found = [pid]
    for child in found:
        found += parents.get(child, [])
    return found


@needs_submitit
def test_the_script_asks_for_what_a_stage_needs(tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two arrays: three jobs without a GPU, and two that declare one, memory and hours."""
    params = SlurmParams(
        partition="gpu",
        account="lab",
        minutes=30,
        memory_gib=4,
        parallel=16,
        setup=["module load cuda"],
        more={"nice": "5"},
    )
    jobs = Jobs(params, tmp_path)
    small = [{"number": number, "what": "a", "needs": {"cpus": 1.0}} for number in range(3)]
    large = [
        {"number": number, "what": "b", "needs": {"cpus": 4.0, "gpus": 1.0, "memory": 20 * 2**30, "hours": 12.0}}
        for number in (3, 4)
    ]
    jobs.submit([small[0], large[0], small[1], small[2], large[1]])
    jobs.close()
    text = "\n".join(_normal(path.read_text(), tmp_path) for path in sorted(slurm.glob("*.sbatch")))
    reference = HERE / "reference.sbatch"
    assert text == reference.read_text(encoding="utf-8")


def _normal(text: str, folder: Path) -> str:
    """A script without the places of this machine."""
    text = text.replace(str(folder), "FOLDER").replace(sys.executable, "PYTHON")
    return re.sub(r"^(#SBATCH --wckey=).*$", r"\1WCKEY", text, flags=re.MULTILINE)


class TestSlurm(ExecutorConformance):
    plugin = "slurm"
    engine = "submitit"
    cell = {"attack": "toy", "device": "cpu"}
