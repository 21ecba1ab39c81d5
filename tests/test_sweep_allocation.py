"""Memory that is freed is kept: pages are not asked for again, and a user's own settings stay."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from bdm_sweep.allocation import THEIRS, keep_freed_memory, keeping_environment

FAULTS = """
import resource
{before}
def blocks():
    kept = [bytearray(4 << 20) for _ in range(6)]
    for block in kept:
        block[:: 4096] = b"x" * len(block[:: 4096])
blocks()
start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    blocks()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THEIRS:
        monkeypatch.delenv(name, raising=False)


def faults(before: str = "", **environment: str) -> int:
    """How many pages a process asked for that fills and frees 24 MiB five times over."""
    code = [sys.executable, "-c", FAULTS.format(before=before)]
    done = subprocess.run(code, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return int(done.stdout)


@glibc
def test_pages_are_not_asked_for_again() -> None:
    plain = faults()
    assert faults(**keeping_environment()) < plain / 10
    itself = "from bdm_sweep.allocation import keep_freed_memory; assert keep_freed_memory()"
    assert faults(itself) < plain / 10


@pytest.mark.parametrize("name", THEIRS)
def test_a_user_who_has_set_something_decides(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    assert keeping_environment() == {}
    assert not keep_freed_memory()
