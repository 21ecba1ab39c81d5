"""What a pipeline folder of diffusers may hold, and its JSON files, read safely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bdm_core import files
from bdm_core.errors import ArtifactError
from bdm_core.files import all_finite

INDEX = "model_index.json"
SCHEDULERS = frozenset(
    {
        "DDPMScheduler",
        "DDIMScheduler",
        "PNDMScheduler",
        "DEISMultistepScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "LMSDiscreteScheduler",
        "UniPCMultistepScheduler",
    }
)
LARGEST_JSON = 2**20
LARGEST = {"layer": 256, "timesteps": 100_000, "channels": 32_768, "size": 1_000_000}
"""What an entry whose name has such a word in it may be at most: nothing is built that takes all time or memory."""
CLASS, INDEX = "_class_name", "model_index.json"
LONGEST = 256
"""Entries of a list of layers, channels or blocks."""


def read_json(path: Path, missing: str) -> dict[str, Any]:
    """A JSON object of at most 1 MiB whose numbers are finite, without sizes beyond :data:`LARGEST`.

    Raises:
        ArtifactError: it is none; the message starts with ``missing`` if there is no such file.
    """
    if not path.is_file():
        raise ArtifactError(f"{missing}: {path.name} is missing")
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError("larger than 1 MiB")
        value = files.read_json(path)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is no valid JSON: {error}") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}") from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} is no JSON object")
    if path.name != INDEX and not isinstance(value.get(CLASS, ""), str):  # of the index the kit names what it opens
        raise ArtifactError(f"{path}: {CLASS} is no text")
    for key, item in value.items():
        if not all_finite(item):
            raise ArtifactError(f"{path}: {key} is NaN or infinite")
        _check_size(path, key, item)
    return value


def _check_size(path: Path, name: str, entry: Any) -> None:
    limit = next((most for word, most in LARGEST.items() if word in name), None)
    if isinstance(entry, list):
        if len(entry) > LONGEST and (limit is not None or "block" in name):
            raise ArtifactError(f"{path}: {name} has {len(entry)} entries, more than {LONGEST}")
        for item in entry:
            _check_size(path, name, item)
    elif limit is not None and isinstance(entry, int | float) and entry > limit:
        raise ArtifactError(f"{path}: {name} is {entry:.6g}, more than {limit}")
