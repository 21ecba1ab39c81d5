"""Run ``bdm`` with the distributions of a fake site, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fake_site import FakeSite
from typer.testing import CliRunner

from bdm_cli.main import app

TOYS = Path(__file__).with_name("cli_toys.py")
TOY_ENTRIES = {
    "bdm.kits": {"toytask": "cli_toys:ToyKit"},
    "bdm.attacks": {"toyword": "cli_toys:ToyAttack"},
    "bdm.defenses": {
        "toylook": "cli_toys:Look",
        "toyshrug": "cli_toys:Shrug",
        "toysieve": "cli_toys:Sieve",
    },
    "bdm.metrics": {"toyhit": "cli_toys:ToyMetric"},
    "bdm.tasks": {
        "toy-task": "cli_toys:ToyKit",
        "toy-task.toyword": "cli_toys:ToyAttack",
        "toy-task.toylook": "cli_toys:Look",
        "toy-task.toyshrug": "cli_toys:Shrug",
        "toy-task.toysieve": "cli_toys:Sieve",
    },
}


def install_toys(site: FakeSite) -> None:
    """Install the plugins of ``cli_toys.py`` as distribution ``bdm-toys``."""
    site.install("bdm-toys", TOY_ENTRIES, {"cli_toys": TOYS.read_text(encoding="utf-8")})


@dataclass(frozen=True)
class Done:
    """A finished command."""

    returncode: int
    stdout: str
    stderr: str


def bdm(site: FakeSite, *arguments: object, **variables: str) -> Done:
    """Run ``bdm`` in this process, in the site's parent folder, 80 columns wide."""
    with contextlib.chdir(site.root.parent):
        words = [str(item) for item in arguments]
        result = CliRunner().invoke(app, words, env={"COLUMNS": "80", **variables}, prog_name="bdm")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def bdm_process(site: FakeSite, *arguments: object, **variables: str) -> Done:
    """Run ``bdm`` in a process of its own."""
    return python(site, "-m", "bdm_cli", *map(str, arguments), **variables)


def python(site: FakeSite, *arguments: str, **variables: str) -> Done:
    """Run this interpreter with the site's distributions on its path, in the site's parent folder."""
    environment = {**site.environment(), "COLUMNS": "80", **variables}
    encoding = variables.get("PYTHONIOENCODING", "utf-8")
    result = subprocess.run(
        [sys.executable, *arguments], capture_output=True, encoding=encoding, env=environment, cwd=site.root.parent
    )
    return Done(result.returncode, result.stdout, result.stderr)


def error_line(result: Done) -> str:
    """The one line that a user error prints; checks exit code 2 and that there is nothing else."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    return lines[0].removeprefix("error: ")
