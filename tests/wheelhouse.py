"""Build wheels of this repository and install them into an empty environment, without a network.

The large libraries are not copied: the environment sees, by links, exactly those installed distributions that the
packages declare to need, directly or not. What a package uses without declaring it is therefore missing there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def build_wheels(folders: Iterable[Path], target: Path) -> Path:
    """Build a wheel of each project folder into ``target`` and return it."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "-w", str(target), *map(str, folders)]
    run(command)
    return target


def run(command: list[str], cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command outside the repository's own environment variables; its output is the message if it fails."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST", "BDM"))}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**inherited, **environment})
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def command(self, name: str, *arguments: str, cwd: Path | None = None) -> str:
        """Standard output of an installed command."""
        return run([str(self.folder / "bin" / name), *arguments], cwd, OMP_NUM_THREADS="1").stdout


def fresh_environment(folder: Path, projects: Iterable[Path]) -> Environment:
    """An empty environment that sees the libraries that these projects declare, and no project."""
    venv.create(folder, symlinks=True)
    libraries = folder / "libraries"
    libraries.mkdir()
    for name in needed(projects):
        link_distribution(metadata.distribution(name), libraries)
    tail = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (folder / tail / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
    return Environment(folder)


def needed(projects: Iterable[Path]) -> set[str]:
    """Names of all distributions that some projects need, without bdm's own and without extras."""
    waiting: list[str] = []
    for project in projects:
        toml = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        waiting += [Requirement(text).name for text in toml["project"]["dependencies"]]
    found: set[str] = set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found or name == "bdm" or name.startswith("bdm-"):
            continue
        found.add(name)
        for requirement in map(Requirement, metadata.requires(name) or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def link_distribution(distribution: metadata.Distribution, target: Path) -> None:
    """Link the files and folders of an installed distribution into another folder."""
    files = distribution.files
    assert files, f"{distribution.name} has no record of its files"
    for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
        link = target / top
        if not link.exists():
            link.symlink_to(Path(str(distribution.locate_file(top))))


def install(environment: Environment, wheels: Path, *requirements: str) -> None:
    """``pip install`` from a folder of wheels, with pip's own resolution of dependencies, without a network."""
    command = [sys.executable, "-m", "pip", "--python", str(environment.python), "install", "-q", "--no-index"]
    run([*command, "--disable-pip-version-check", "--find-links", str(wheels), *requirements])
