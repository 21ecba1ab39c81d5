"""Write ``constraints.txt``: the versions that were tested together.

It takes what is installed in the environment that runs it, restricted to what core, CLI, plugins and their extras need,
directly or not. ``--check`` writes nothing and says whether a requirement of the repository has no pin.
"""

from __future__ import annotations

import argparse
import sys
from importlib import metadata

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from workspace import ROOT, projects

FILE = ROOT / "constraints.txt"
BUILD = ["editables"]
"""Needed to build editable installs without isolation, and named by no pyproject.toml."""
NOT_PINNED = {"torchvision", "umap-learn", "timm", "torch-fidelity", "lpips", "pip"} | {
    "tensorboard",
    "wandb",
    "mlflow-skinny",
    "sqlalchemy",
    "alembic",
}
"""Extras whose users choose the build that fits their torch, and trackers, which no other part needs."""
NOTES = {
    "torch": "install it first and by itself: pip install torch==2.13.0",
    "pluggy": "the tests also pass with 1.6.0, the oldest version that is allowed",
}


def is_own(name: str) -> bool:
    """Whether a distribution is one of bdm's."""
    return name == "bdm" or name.startswith("bdm-")


def direct() -> set[str]:
    """Names of what the repository's pyproject files require, without bdm's own distributions."""
    wanted = [Requirement(text) for project in projects() for text in project.requirements]
    names = {canonicalize_name(item.name) for item in wanted} | set(BUILD)
    return {name for name in names if not is_own(name)} - NOT_PINNED


def closure(names: set[str]) -> set[str]:
    """The installed ones among some distributions and all that they need here."""
    found: set[str] = set()
    waiting = sorted(names)
    environment = {str(key): str(value) for key, value in default_environment().items()} | {"extra": ""}
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found or name in NOT_PINNED:
            continue
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        parsed = [Requirement(text) for text in needs]
        waiting += [item.name for item in parsed if item.marker is None or item.marker.evaluate(environment)]
    return found


def text() -> str:
    """The file's content."""
    lines = ["# The versions that were tested together. Written by `make constraints` in a tested environment."]
    for name in sorted(closure(direct())):
        note = f"  # {NOTES[name]}" if name in NOTES else ""
        lines.append(f"{name}=={metadata.version(name).partition('+')[0]}{note}")
    return "\n".join(lines) + "\n"


def check() -> int:
    """Whether every direct requirement has a pin."""
    pinned = {line.partition("==")[0] for line in FILE.read_text(encoding="utf-8").splitlines() if "==" in line}
    missing = sorted(direct() - pinned)
    for name in missing:
        print(f"constraints.txt has no version of {name}: run make constraints", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    if parser.parse_args().check:
        sys.exit(check())
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE.relative_to(ROOT)}")
