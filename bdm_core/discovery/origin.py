"""What code a plugin is: a digest over the files of its distribution, without importing it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

NO_SOURCES = ("build", "dist", "docs", "node_modules", "venv")
"""Folders that are left out when a whole project is hashed. Hidden folders and caches never count."""


def distribution_digest(dist: importlib.metadata.Distribution) -> str:
    """SHA-256 over the files of an installed distribution, 64 hexadecimal digits.

    A regular install is identified by its RECORD, which holds a hash for each file; an editable one, and one without
    RECORD, by its sources: the packages that its entry points name, or the whole project if none of them is found.
    """
    root = editable_root(dist)
    if root is not None:
        found = _sources(dist, [root, root / "src"])
        return source_digest(found) if found else source_digest([root], [root / name for name in NO_SOURCES])
    record = dist.read_text("RECORD")
    if record:
        return hashlib.sha256(record.encode()).hexdigest()
    found = _sources(dist, [Path(str(dist.locate_file("")))])
    facts = f"{dist.metadata['Name']} {dist.version}"
    return source_digest(found) if found else hashlib.sha256(facts.encode()).hexdigest()


class Origins:
    """What the code of a plugin is.

    Args:
        digests: of distributions that were hashed already; more are added.
    """

    def __init__(self, digests: dict[str, str]) -> None:
        self._digests = digests
        self.libraries: dict[str, str] = {}
        self.foreign: set[str] = set()

    def of(self, dist: importlib.metadata.Distribution) -> str:
        """A distribution's digest; what it requires is added to ``libraries`` and ``foreign``.

        ``libraries`` are bdm's own libraries and kits with their digests, requirements of requirements included;
        ``foreign`` the names of other distributions that one of these requires directly.
        """
        waiting = [dist]
        while waiting:
            for text in waiting.pop().requires or []:
                name = re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0].lower().replace("_", "-")
                if name == "bdm" or name in self.libraries or "extra ==" in text:
                    continue
                if not name.startswith("bdm-"):
                    self.foreign.add(name)
                    continue
                try:
                    library = importlib.metadata.distribution(name)
                except importlib.metadata.PackageNotFoundError:
                    continue  # its absence will be an error where it is imported
                self.libraries[name] = self._digest(library)
                waiting.append(library)
        return self._digest(dist)

    def _digest(self, dist: importlib.metadata.Distribution) -> str:
        key = f"{dist.metadata['Name']} {dist.locate_file('')}"
        if key not in self._digests:
            self._digests[key] = distribution_digest(dist)
        return self._digests[key]


def editable_root(dist: importlib.metadata.Distribution) -> Path | None:
    """The project folder of an editable install; None for another one."""
    try:
        record = json.loads(dist.read_text("direct_url.json") or "{}")
        if record.get("dir_info", {}).get("editable"):
            return Path(url2pathname(urlparse(record["url"]).path))
    except (ValueError, KeyError, AttributeError):
        pass  # not what an installer writes
    return None


def source_digest(packages: list[Path], leave_out: list[Path] | None = None) -> str:
    """SHA-256 over names and contents of all files in some package folders and modules.

    Args:
        packages: folders, or single files.
        leave_out: folders below them that do not count.
    """
    total = hashlib.sha256()
    for package in packages:
        for path in sorted(_files(package, leave_out or [])):
            total.update(path.relative_to(package.parent).as_posix().encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _files(package: Path, leave_out: list[Path]) -> list[Path]:
    if package.is_file():
        return [package]
    found: list[Path] = []
    for folder, subfolders, names in os.walk(package):
        subfolders[:] = [
            name
            for name in subfolders
            if name != "__pycache__"
            and not name.startswith(".")
            and not name.endswith(".egg-info")
            and Path(folder, name) not in leave_out
        ]
        found += [path for name in names if (path := Path(folder, name)).suffix not in {".pyc", ".md"}]
    return [path for path in found if path.is_file()]


def _sources(dist: importlib.metadata.Distribution, roots: list[Path]) -> list[Path]:
    """Packages and modules of a distribution that lie in one of some folders."""
    name = dist.metadata["Name"].replace("-", "_")
    names = {entry.value.partition(":")[0].partition(".")[0].strip() for entry in dist.entry_points}
    names |= {name, *(dist.read_text("top_level.txt") or "").split()}
    if name == "bdm":
        names = {"bdm_core", "cli/bdm_cli"}
    choices = [root / form for root in roots for item in sorted(names) for form in (item, f"{item}.py")]
    return [path for path in choices if path.exists()]
