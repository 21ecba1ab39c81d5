"""What this repository contains: its distributions and their ``pyproject.toml`` files. Used by the other scripts."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Project:
    """One distribution: its folder and its parsed ``pyproject.toml``."""

    folder: Path
    toml: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.toml["project"]["name"])

    @property
    def requirements(self) -> list[str]:
        """Everything it may need: dependencies, those of its extras, and its build requirements."""
        project = self.toml["project"]
        extras = [item for items in project.get("optional-dependencies", {}).values() for item in items]
        return [*project.get("dependencies", []), *extras, *self.toml["build-system"]["requires"]]


def projects(root: Path = ROOT) -> list[Project]:
    """The core and every plugin, the core first, plugins by folder."""
    files = [root / "pyproject.toml", *sorted((root / "plugins").glob("*/*/pyproject.toml"))]
    return [Project(file.parent, tomllib.loads(file.read_text(encoding="utf-8"))) for file in files]


def write_or_check(files: dict[Path, str], check: bool, remedy: str) -> int:
    """Write generated files, or say which of them are out of date; the script's exit code."""
    stale = False
    for path, text in files.items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale = True
        if check:
            print(f"{path.relative_to(ROOT)} is out of date: run {remedy}", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if check and stale else 0
