"""What a stranger's configuration may ask for: finite numbers, and sizes that do not take all time or memory. Light."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bdm_core.errors import ArtifactError
from bdm_core.files import all_finite

LARGEST = {"layer": 256, "depth": 256, "timesteps": 100_000, "channels": 32_768, "size": 1_000_000}
"""What an entry whose name has such a word in it may be at most."""
LONGEST = 256
"""Entries of a list of layers, channels or blocks."""


def check_numbers(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that holds NaN or infinity, or sizes beyond :data:`LARGEST`.

    Args:
        path: of the configuration, for the message.
        config: its content.

    Raises:
        ArtifactError: so it is; the message names the entry.

    >>> check_numbers(Path("config.json"), {"num_layers": 12, "vision": {"depths": [2, 10**9]}})
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: config.json: depths is 1000000000, more than 256
    """
    for key, item in config.items():
        if not all_finite(item):
            raise ArtifactError(f"{path}: {key} is NaN or infinite")
        _check_size(path, key, item)


def _check_size(path: Path, name: str, entry: Any) -> None:
    limit = next((most for word, most in LARGEST.items() if word in name), None)
    if isinstance(entry, dict):
        for key, item in entry.items():
            _check_size(path, str(key), item)
    elif isinstance(entry, list):
        if len(entry) > LONGEST and (limit is not None or "block" in name):
            raise ArtifactError(f"{path}: {name} has {len(entry)} entries, more than {LONGEST}")
        for item in entry:
            _check_size(path, name, item)
    elif limit is not None and isinstance(entry, int | float) and entry > limit:
        raise ArtifactError(f"{path}: {name} is {str(entry)[:20]}, more than {limit}")
