"""What the report shows, found in the run and the store. What is missing or damaged is left out, and said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bdm_core.artifacts import Artifact, Backdoored, Detection, Secret
from bdm_core.errors import BdmError
from bdm_core.run.record import RunView


class Material:
    """A run with its artifacts, opened when asked for.

    Attributes:
        run: the run.
        record: its ``run.json``.
        problems: one line for each artifact that could not be opened.
    """

    def __init__(self, run: RunView) -> None:
        self.run = run
        self.record: dict[str, Any] = run.record
        self.problems: list[str] = []
        self._results: dict[str, Any] = {}

    def result(self, label: str) -> Any:
        """What the stage with this label returned; None if there is none, or if the store does not hold it any more."""
        if label not in self._results:
            try:
                self._results[label] = self.run.result_of(label)
            except (BdmError, KeyError, TypeError, ValueError, OSError) as error:
                self._results[label] = None
                self.problems.append(f"{label}: {error}")
        return self._results[label]

    def artifact(self, label: str) -> Artifact | None:
        """Like :meth:`result`, for stages that return a single artifact."""
        result = self.result(label)
        return result if isinstance(result, Artifact) else None

    def secret(self) -> Secret | None:
        """The attack's secret."""
        result = self.result("backdoored model")
        return result.secret if isinstance(result, Backdoored) else None

    def detection(self, label: str = "detection") -> Detection | None:
        """A detector's full answer."""
        result = self.result(label)
        return result if isinstance(result, Detection) else None

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """``run.json``'s detections by role, the one on the model in question first."""
        found = mapping(self.record.get("detections"))
        return dict(
            sorted(((role, mapping(fact)) for role, fact in found.items()), key=lambda item: item[0] == "clean")
        )

    def spec(self) -> dict[str, Any]:
        """The resolved specification."""
        return mapping(self.record.get("spec"))


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object as it is; anything else as an empty one."""
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def read_json(artifact: Artifact, name: str) -> Any:
    """One JSON file of an artifact, or None."""
    if name not in artifact.files:
        return None
    try:
        return json.loads(artifact.file(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
