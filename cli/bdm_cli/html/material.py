"""What the report shows, found in the run and the store. What is missing or damaged is left out, and said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bdm_core.artifacts import Artifact, Data, Secret
from bdm_core.errors import BdmError
from bdm_core.records import Backdoored, Detection
from bdm_results.view import RunView


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

    def poisoned_data(self) -> Data | None:
        """The training data of the backdoored model: as the attack really used it, or as it was poisoned before."""
        result = self.result("backdoored model")
        if isinstance(result, Backdoored) and result.view is not None:
            return result.view
        poisoned = self.result("poisoned data")
        return poisoned if isinstance(poisoned, Data) else None

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

    def repairs(self) -> bool:
        """Whether a defense was asked to repair; ``none`` is the control that returns the model as it is."""
        return str(self.spec().get("repair") or "none").rpartition(":")[2] != "none"

    def results(self) -> list[dict[str, Any]]:
        """The lines of ``results.jsonl``, without the row ``repaired`` if nothing was repaired."""
        return [line for line in self.run.results if self.repairs() or line.get("row") != "repaired"]

    def is_scan(self) -> bool:
        """Whether a model was judged that somebody else made: then its detections go by the names of detectors."""
        return not self.spec().get("attack")

    def detectors(self) -> dict[str, Detection]:
        """The full answers of the detectors of a scan, by name, as far as the store holds them."""
        found = {name: self.detection(f"detection by {name}") for name in self.verdicts()}
        return {name: detection for name, detection in found.items() if detection is not None}

    def spec(self) -> dict[str, Any]:
        """The resolved specification."""
        return mapping(self.record.get("spec"))


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object as it is; anything else as an empty one."""
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def metric_name(metric: str) -> str:
    """``metric:target.asr@0.05`` -> ``asr@0.05``."""
    return metric.split(":", 1)[-1].partition(".")[2] or metric


def shown_name(line: Mapping[str, Any]) -> str:
    """How a line of ``results.jsonl`` calls its metric: its label, or else the metric's name without the plugin."""
    return str(line.get("label") or "") or metric_name(str(line.get("metric")))
