"""What the tests of sweeps share: toys on the path, plugins that die, and a record of every hook that was called."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from fake_site import FakeSite

TOY = Path(__file__).parent / "toy"
ATTACKS = [{"name": "toy", "params": {"shift": shift}} for shift in (8.0, 9.0, 10.0, 11.0)]
DEFENSES = ["toy", "toy-rows", "toy-filter", "toy-black-box"]
OPTIONS = {"device": "cpu", "data_share": 0.5}
RECORDER = """
import os
from bdm_core.run.job import Job
call = Job.call
def recorded(self, ctx, inputs):
    with open(os.environ["BDM_TEST_CALLS"], "a") as stream:
        stream.write(f"{self.key} {self.stage}\\n")
    return call(self, ctx, inputs)
Job.call = recorded
"""
DYING = """
import os, signal
from bdm_core import Attack, hookimpl
class Dying(Attack):
    name = "dying"
    tasks = frozenset({"toy"})
    @hookimpl
    def inject_backdoor(self, ctx, params, model, data):
        os.kill(os.getpid(), signal.SIGKILL)
class Leaving(Dying):
    name = "leaving"
    @hookimpl
    def inject_backdoor(self, ctx, params, model, data):
        os._exit(7)
"""


def install_dying(site: FakeSite) -> None:
    """Install the attacks ``dying`` and ``leaving`` for the task ``toy``."""
    entries = {"dying": "bdm_dying:Dying", "leaving": "bdm_dying:Leaving"}
    tasks = {f"toy.{name}": target for name, target in entries.items()}
    site.install("bdm-dying", {"bdm.attacks": entries, "bdm.tasks": tasks}, {"bdm_dying": DYING})


def record_calls(site: FakeSite) -> None:
    """Let every new process that sees the site write down which hooks it calls, in ``$BDM_TEST_CALLS``."""
    (site.root / "sitecustomize.py").write_text(RECORDER, encoding="utf-8")


def calls_in(path: Path) -> Counter[str]:
    """How often each ``KEY STAGE`` was called."""
    return Counter(path.read_text(encoding="utf-8").splitlines()) if path.exists() else Counter()


def start_bdm(folder: Path, *arguments: object, **variables: str) -> subprocess.Popen[str]:
    """``bdm`` in a process of its own, with the toys, in a folder; Ctrl-C reaches it whoever started the tests."""
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import bdm_cli.main as m; m.main()"
    )
    paths = os.pathsep.join([str(TOY), *filter(None, [variables.pop("PATHS", ""), os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": paths, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def digests(folder: Path) -> dict[str, Any]:
    """Name of a run -> label of a stage -> digests, for every run of a folder."""
    from bdm_results.rows import runs_in

    return {
        view.folder.name: {entry["label"]: entry["digests"] for entry in view.stages}
        for view in runs_in(folder)
        if view.record["status"] == "complete"
    }
