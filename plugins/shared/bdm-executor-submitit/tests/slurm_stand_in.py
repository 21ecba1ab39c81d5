"""A stand-in for SLURM's commands: sbatch, srun, scontrol requeue, scancel and sacct, with processes of this machine.

It is called under these names, with the folder of its state in ``$SLURM_STAND_IN``. A job is a folder ``ID_INDEX``
there, with its script, its environment, the process that runs it, and its state.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["SLURM_STAND_IN"])


def sbatch(script: str) -> None:
    """Start every job of a script."""
    text = Path(script).read_text()
    number = 1 + len(list(STATE.glob("*.sbatch")))
    (STATE / f"{number}.sbatch").write_text(text)
    array = re.search(r"--array=0-(\d+)", text)
    cpus = re.search(r"--cpus-per-task=(\d+)", text)
    for index in range(int(array[1]) + 1) if array else [None]:
        job = STATE / (f"{number}" if index is None else f"{number}_{index}")
        job.mkdir()
        variables = {"SLURM_JOB_ID": str(number), "SLURM_CPUS_PER_TASK": cpus[1] if cpus else "1"}
        if index is not None:
            variables |= {"SLURM_ARRAY_JOB_ID": str(number), "SLURM_ARRAY_TASK_ID": str(index)}
        (job / "variables.json").write_text(json.dumps(variables))
        start(job)
    print(f"Submitted batch job {number}")


def start(job: Path) -> None:
    """Run a job's script in the background."""
    script = STATE / f"{job.name.split('_')[0]}.sbatch"
    variables = json.loads((job / "variables.json").read_text())
    with (job / "log").open("ab") as log:
        process = subprocess.Popen(
            ["bash", str(script)], env={**os.environ, **variables}, stdout=log, stderr=log, start_new_session=True
        )
    (job / "pid").write_text(str(process.pid))
    with (job / "starts").open("a") as stream:
        stream.write(f"{process.pid}\n")


def srun(*arguments: str) -> None:
    """Run a command in the place of this process."""
    words = list(arguments)
    while words and words[0].startswith("--"):
        option = words.pop(0)
        if option in ("--output", "--error"):
            words.pop(0)
    os.execvp(words[0], words)


def scontrol(action: str, name: str) -> None:
    """Queue a job again: it has started again before its first process has ended, as may happen."""
    assert action == "requeue"
    start(STATE / name)


def scancel(*arguments: str) -> None:
    """End jobs, or send them a signal."""
    words = list(arguments)
    number = signal.SIGKILL
    if "--signal" in words:
        place = words.index("--signal")
        number = signal.Signals[f"SIG{words[place + 1].removeprefix('SIG')}"]
        del words[place : place + 2]
    for name in words:
        for job in [STATE / name, *STATE.glob(f"{name}_*")]:
            with contextlib.suppress(OSError, ValueError):
                group = int((job / "pid").read_text())
                if number is signal.SIGKILL:
                    os.killpg(group, number)
                else:
                    signal_python(group, number)


def signal_python(shell: int, number: int) -> None:
    """Send a signal to the job's own process, below the shell of its script."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == shell:
                os.kill(int(path.parent.name), number)


def sacct() -> None:
    """Every job's state."""
    print("JobID|State|NodeList")
    for job in STATE.iterdir():
        if job.is_dir():
            pid = int((job / "pid").read_text())
            alive = Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
            print(f"{job.name}|{'RUNNING' if alive else 'NODE_FAIL'}|here")


if __name__ == "__main__":
    name, *rest = Path(sys.argv[0]).name, *sys.argv[1:]
    {"sbatch": sbatch, "srun": srun, "scontrol": scontrol, "scancel": scancel, "sacct": lambda *_: sacct()}[name](*rest)
