"""What a pipeline folder of diffusers may hold, and its JSON files, read safely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bdm_core import files
from bdm_core.errors import ArtifactError
from bdm_torch.configurations import check_numbers

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
CLASS = "_class_name"


def read_json(path: Path, missing: str) -> dict[str, Any]:
    """A JSON object of at most 1 MiB whose numbers are finite, see :func:`check_numbers`.

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
    check_numbers(path, value)
    return value
