"""The runs of a folder, and all their numbers as flat rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bdm_core.errors import UserError
from bdm_core.files import as_unicode, existing
from bdm_core.store import paths
from bdm_results.fingerprints import fingerprints
from bdm_results.same_data import fingerprint_of
from bdm_results.setting import setting_of
from bdm_results.view import RunView

UNFINISHED = "it did not complete"
"""Why a run that can be read does not count."""
NAMED = 3
"""So many unfinished runs are named in the warning about them."""
OPTIONS = ("attack", "detect", "purify", "repair", "model", "data", "data_share", "triggered_share", "repair_always")
"""Options of a run that are columns of its rows."""


def runs_in(folder: Path) -> list[RunView]:
    """Every run in a folder (or the run that the folder is), oldest first.

    A folder that is no run of this version, or a damaged one, is left out with a warning.

    Raises:
        UserError: there is none.
    """
    if existing(folder / paths.RUN_RECORD):
        return [RunView(folder)]
    found, damaged = _read_all(folder)
    for error in damaged.values():
        logging.getLogger("bdm").warning("left out: %s", error)
    if damaged and not found:
        raise UserError(f"no run in {folder} counts: {len(damaged)} cannot be read")
    if not found:
        raise UserError(f"no runs in {folder}: give the folder that `bdm run --out` wrote to")
    return sorted(found, key=lambda run: str(run.record.get("started", "")))


def left_out_in(folder: Path) -> list[dict[str, str]]:
    """Every run of a folder that does not count: ``run``, ``status`` (``damaged`` if it cannot be read), ``reason``."""
    single = existing(folder / paths.RUN_RECORD)
    found, damaged = ([RunView(folder)], {}) if single else _read_all(folder)
    states = {view.name: str(view.record["status"]) for view in found}
    unfinished = {name: status for name, status in states.items() if status != "complete"}
    return [
        *({"run": as_unicode(name), "status": "damaged", "reason": error} for name, error in damaged.items()),
        *({"run": as_unicode(name), "status": status, "reason": UNFINISHED} for name, status in unfinished.items()),
    ]


def _read_all(folder: Path) -> tuple[list[RunView], dict[str, str]]:
    """The runs of a folder that can be read, and of the others by name why not."""
    found, damaged = [], {}
    for name in sorted(fingerprints(folder)):
        try:
            found.append(RunView(folder / name))
        except UserError as error:
            damaged[name] = str(error)
    return found, damaged


def rows_in(folder: Path) -> list[dict[str, Any]]:
    """Every number of every complete run in a folder, a flat dictionary each; see :func:`rows_of`.

    Raises:
        UserError: there are no runs.
    """
    views = runs_in(folder)
    unfinished = [view.name for view in views if view.record["status"] != "complete"]
    if unfinished:
        more = f" and {len(unfinished) - NAMED} more" if len(unfinished) > NAMED else ""
        named = ", ".join(unfinished[:NAMED])
        logging.getLogger("bdm").warning("left out, because they did not complete: %s%s", named, more)
    return [row for view in views if view.record["status"] == "complete" for row in rows_of(view)]


def rows_of(view: RunView) -> Iterator[dict[str, Any]]:
    """The numbers of one run.

    Yields:
        What a line of ``results.jsonl`` has; ``verdict`` where a detector judged that very model; the run's options,
        device, parameters as ``KIND:NAME.PARAMETER`` and plugin versions as ``KIND:NAME version``. A model that was
        judged and has no other numbers is a row of its own, with the metric ``defense:NAME.score``; in a scan
        ``detect`` is then the detector.
    """
    facts = facts_of(view)
    detections = view.record["detections"]
    scored = set()
    for line in view.results:
        scored.add(line["row"])
        yield {**line, **facts, "verdict": detections.get(line["row"], {}).get("verdict")}
    for role, detection in detections.items():
        if role not in scored:
            scan = facts["attack"] is None
            judged = {"row": "model", "role": "model", "detect": role} if scan else {"row": role, "role": role}
            name = role if scan else facts["detect"]
            number = {"metric": f"defense:{name}.score", "value": detection.get("score"), "label": f"{name} score"}
            yield {**facts_of(view, role if scan else ""), **judged, **number, "verdict": detection.get("verdict")}


def facts_of(view: RunView, detector: str = "") -> dict[str, Any]:
    """What tells one run from another: options, parameters and plugin versions; of the defenses only a scan's detector
    if it is given.
    """
    record, spec = view.record, view.record["spec"]
    facts = {name: spec.get(name) for name in OPTIONS}
    facts |= setting_of(record) | fingerprint_of(view)
    facts |= {"run": view.name, "task": record.get("task"), "seed": record["seed"]}
    for key, plugin in record["plugins"].items():
        other = key.startswith("defense:") and detector and key != f"defense:{detector}"
        if not (other or key.startswith("observer:")):
            facts[f"{key} version"] = f"{plugin.get('distribution')} {plugin.get('version')}"
            params = plugin.get("params")
            facts |= {f"{key}.{name}": value for name, value in (params if isinstance(params, dict) else {}).items()}
    return facts
