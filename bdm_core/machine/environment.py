"""Where a run happens: versions of libraries, hardware, the commit of the working folder."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from pydantic import JsonValue

OWN = ("bdm", "pluggy", "pydantic")
"""Libraries of the core, which every run records."""


def versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions of some distributions, without importing them; one that is not installed is left out."""
    found = {name: _version(name) for name in sorted(names)}
    return {name: version for name, version in found.items() if version}


@functools.cache
def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def hardware() -> dict[str, JsonValue]:
    """Processor, cores and memory; GPU names if torch is loaded and sees any."""
    facts: dict[str, JsonValue] = {
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        facts["processor"] = next(line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line)
    except (OSError, StopIteration):
        facts["processor"] = platform.processor()
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return facts


def git_commit() -> str | None:
    """The commit of the working folder, if it is a git checkout; with ``+`` if there are changes."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
        if head.returncode:
            return None
        status = subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")
