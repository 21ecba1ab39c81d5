"""A run as read from its folder: ``run.json``, ``stages.json``, ``results.jsonl``, checked field by field."""

from __future__ import annotations

import logging
from pathlib import Path
from types import NoneType
from typing import Any

from bdm_core.artifacts import Artifact
from bdm_core.errors import UserError
from bdm_core.files import finite, parse_json, read_json
from bdm_core.run.record import SCHEMA_VERSION
from bdm_core.store import paths
from bdm_core.store.store import Store
from bdm_results.earlier import EARLIER, name_of

Form = dict[str, tuple[type, ...]]
_TEXT, _NUMBER, _COUNT = (str,), (float, int, NoneType), (int, NoneType)
_OPTIONS: Form = dict.fromkeys(("attack", "detect", "purify", "repair", "model", "data", "task"), (str, NoneType))
_LINE: Form = {"metric": _TEXT, "row": _TEXT, "value": _NUMBER} | {
    "higher_is_better": (bool, NoneType),
    "share": (bool,),
}
_LINE |= {"role": _TEXT, "on": _TEXT, "label": _TEXT, "description": _TEXT, "measures": _TEXT}
_LINE |= {"stderr": _NUMBER, "n": _COUNT, "seed": (int,)} | _OPTIONS
_STAGE: Form = {"label": _TEXT, "stage": _TEXT, "key": _TEXT, "cached": (bool,), "seconds": _NUMBER}
_STAGE |= {"peak_memory_bytes": _COUNT, "figures": (dict,), "warnings": (list,)}
_DETECTION: Form = {"verdict": _TEXT, "note": _TEXT, "score": _NUMBER, "threshold": _NUMBER, "p_value": _NUMBER}
_PLUGIN: Form = {"least_clean_models": (int,)}
_RECORD: Form = {"status": _TEXT, "spec": (dict,), "plugins": (dict,), "detections": (dict,), "seed": (int,)}
_RECORD |= {"task": (str, NoneType), "seconds": _NUMBER, "notes": (dict,)}
"""What the parts of a run's files are; what a part has beside is not looked at."""


class RunView:
    """A run as read from its folder.

    Attributes:
        folder: the run's folder.
        name: its name; ``NAME/earlier`` for what a run that is not complete again left before.
        record: ``run.json``.
        results: the lines of ``results.jsonl``.
        stages: the entries of ``stages.json``: label, stage, key, cached, seconds, peak_memory_bytes, result, figures.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            for file in (folder / name for name in (paths.RUN_RECORD, paths.RESULTS, paths.STAGES)):
                if file.exists() and not file.is_file():  # reading a pipe would wait for ever
                    raise ValueError(f"{file.name} is no file")
            self.record: dict[str, Any] = _checked_record(finite(_json(folder / paths.RUN_RECORD)))
            self.results = _lines(folder / paths.RESULTS)
            stages = folder / paths.STAGES
            entries = finite(_json(stages)) if stages.exists() else []
            if not isinstance(entries, list):
                raise ValueError(f"{paths.STAGES} is not what a run writes")
            self.stages: list[dict[str, Any]] = [_checked(entry, paths.STAGES, _STAGE, "label") for entry in entries]
            for item in self.record["detections"].values():
                if item.get("level", "model") != "model" and item.get("conclusive", True):
                    item["verdict"] = ""  # earlier runs say more than Detection.verdict now does
        except FileNotFoundError as error:
            raise UserError(f"{folder} is no run folder: it has no {Path(error.filename).name}") from None
        except OSError as error:
            raise UserError(f"{folder} cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise UserError(f"{folder} is damaged: {error}; repair or delete it") from None
        self.name = name_of(folder)
        self.store = Store(folder.parent.parent if folder.name == EARLIER else folder.parent)

    def stage(self, label: str) -> dict[str, Any] | None:
        """The entry of the stage with this label, or None."""
        return next((entry for entry in self.stages if entry["label"] == label), None)

    def result_of(self, label: str) -> Any:
        """What the stage with this label returned, artifacts opened and verified; None if there is no such stage."""
        entry = self.stage(label)
        if entry is None:
            return None
        record = self.store.read(entry["stage"], entry["key"])
        return None if record is None else self.store.result(record)

    @property
    def verdict(self) -> str:
        """What the detectors of the run say together of the model in question.

        Those that are calibrated on clean models decide: ``backdoored`` if one says so, else ``clean`` if one does.
        Where none of them judged, those decide that know no calibration: ``clean`` if one says so and none says
        backdoored. Else ``not identifiable``; "" without any detector. One that could be calibrated and is not decides
        nothing: by the threshold of its paper it calls many clean models backdoored, or many backdoored ones clean.
        """
        found = {role: item for role, item in self.record.get("detections", {}).items() if role != "clean"}
        judged = {item.get("verdict") for item in found.values() if is_calibrated(item)}
        others = {item.get("verdict") for name, item in found.items() if not self._calibrates(name)}
        if "backdoored" in judged:
            return "backdoored"
        if "clean" in judged or ("clean" in others and "backdoored" not in others):
            return "clean"
        return "not identifiable" if found else ""

    def _calibrates(self, name: str) -> bool:
        """Whether a detector wants clean models for its verdict."""
        return bool(self.record["plugins"].get(f"defense:{name}", {}).get("least_clean_models", 1) > 1)

    def artifact(self, label: str) -> Artifact | None:
        """Like :meth:`result_of`, for stages that return a single artifact."""
        result = self.result_of(label)
        return result if isinstance(result, Artifact) else None


def is_calibrated(detection: dict[str, Any]) -> bool:
    """Whether a verdict in ``run.json`` comes with a p-value, which detectors have from clean models."""
    return detection.get("p_value") is not None


def _checked(found: Any, name: str, form: Form, *needed: str) -> dict[str, Any]:
    """``found`` if it is an object of a form. Raises ValueError otherwise."""
    if not isinstance(found, dict) or not found.keys() >= set(needed):
        raise ValueError(f"{name} is not what a run writes")
    for field, types in form.items():
        value = found.get(field)
        if field in found and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
            raise ValueError(f"{name} has no valid {field}")
    return found


def _checked_record(found: Any) -> dict[str, Any]:
    name = paths.RUN_RECORD
    if not isinstance(found, dict) or found.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{name} is no record of this version of bdm (schema_version {SCHEMA_VERSION})")
    _checked(found, name, _RECORD, "status", "spec", "plugins", "detections", "seed")
    _checked(found["spec"], name, _OPTIONS)
    for part, form in (("plugins", _PLUGIN), ("detections", _DETECTION)):
        for item in found[part].values():
            _checked(item, name, form)
    return found


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def _lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; a line that a killed process left half-written is skipped with a warning."""
    found: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found.append(_checked(finite(parse_json(line)), path.name, _LINE, "metric", "row", "value"))
        except ValueError:
            logging.getLogger("bdm").warning("%s: line %d is damaged and left out", path, number)
    return found
