"""Installed distributions that exist only for one test."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass
from pathlib import Path


@dataclass
class FakeSite:
    """A folder on ``sys.path`` with small distributions in it, as pip would have installed them."""

    root: Path

    def install(
        self,
        distribution: str,
        entry_points: dict[str, dict[str, str]],
        modules: dict[str, str] | None = None,
        version: str = "1.0",
        summary: str = "a plugin for a test",
    ) -> None:
        """Write modules (name -> source) and metadata with entry points (group -> name -> target)."""
        for module, source in (modules or {}).items():
            path = self.root / (module.replace(".", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))
        info = self.root / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        head = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nSummary: {summary}\n"
        (info / "METADATA").write_text(head)
        groups = [
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
            for group, entries in entry_points.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(groups))
        (info / "RECORD").write_text(f"{info.name}/METADATA,sha256={abs(hash(str(modules)))},1\n")

    def environment(self) -> dict[str, str]:
        """The environment for a subprocess that should see these distributions."""
        paths = [str(self.root), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
