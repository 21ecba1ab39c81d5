"""What a scan found as SARIF 2.1.0, the format that code hosts show beside a file.

A rule is a detector. *Backdoored* is an ``error`` where the detector is calibrated and a ``warning`` where it is not;
*cannot tell* is a ``note``; *clean* is a result of kind ``pass``. Detectors that were not asked, or refused the model,
are notifications of the invocation. Files are named relative to the scanned folder, ``uriBaseId`` MODEL.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0, sections 3.13, 3.27 and 3.58.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bdm_cli.console import one_line, printable
from bdm_core.errors import UserError
from bdm_core.machine.redaction import redact

if TYPE_CHECKING:
    from bdm_core.artifacts import Artifact

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
BASE = "MODEL"
"""The name for the scanned folder, whose place on the machine stays out of the file."""
FIRST = ("model_index.json", "config.json")
"""The file that a result points to, if the model has it."""


def write(file: Path, found: dict[str, Any], model: Artifact | None, *, version: str, command: str) -> None:
    """Write a scan's answer as SARIF, in one step.

    Args:
        file: where to.
        found: as from :func:`bdm_cli.overall.answer`.
        model: what was judged, sealed; None if the store does not hold it any more.
        version: of bdm.
        command: the command line, without credentials.

    Raises:
        UserError: the file cannot be written.
    """
    temporary = file.with_name(f".{file.name[:100]}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(log(found, model, version=version, command=command), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror or error}") from None


def log(found: dict[str, Any], model: Artifact | None, *, version: str, command: str) -> dict[str, Any]:
    """The document, see :func:`write`."""
    files = dict(model.files) if model is not None else {}
    names = [f"defense:{item['detector']}" for item in found["checked"]]
    driver = {
        "name": "bdm",
        "semanticVersion": version,
        "rules": [_rule(name, item) for name, item in zip(names, found["checked"], strict=True)],
    }
    invocation = {
        "executionSuccessful": True,
        "commandLine": _text(command),
        "toolExecutionNotifications": [
            {"level": "note", "message": {"text": f"not checked: {_text(name)}: {_text(reason)}"}}
            for name, reason in found["not_checked"].items()
        ],
    }
    place = next((name for name in FIRST if name in files), next(iter(sorted(files)), None))
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "originalUriBaseIds": {BASE: {"description": {"text": "The folder of the model that was scanned."}}},
        "artifacts": [
            {"location": _location(name), "hashes": {"sha-256": digest}} for name, digest in sorted(files.items())
        ],
        "results": [_result(name, index, found["checked"][index], place) for index, name in enumerate(names)],
        "properties": {key: found[key] for key in ("task", "verdict", "rule", "p_value", "p_value_corrected")},
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(name: str, item: dict[str, Any]) -> dict[str, Any]:
    text = f"{name} judges the {item['level']} for a backdoor, with access to {', '.join(item['access']) or 'nothing'}."
    return {
        "id": name,
        "shortDescription": {"text": _text(text)},
        "defaultConfiguration": {"level": "error" if item["calibrated"] else "warning"},
    }


def _result(name: str, index: int, item: dict[str, Any], place: str | None) -> dict[str, Any]:
    verdict = item["verdict"]
    words = f"{name}: {'cannot tell' if verdict == 'not identifiable' else verdict}"
    if item.get("score") is not None:
        words += f" (score {item['score']:.4g}, threshold {item['threshold']:.4g})"
    if item.get("p_value") is not None:
        words += f", p = {item['p_value']:.2g}"
    if item.get("note"):
        words += f": {item['note']}"
    level = {"backdoored": "error" if item["calibrated"] else "warning", "not identifiable": "note"}.get(verdict)
    keys = ("verdict", "score", "threshold", "p_value", "calibrated", "seconds")
    return {
        "ruleId": name,
        "ruleIndex": index,
        "kind": "pass" if level is None else "fail",
        "level": level or "none",
        "message": {"text": _text(words)},
        "locations": [] if place is None else [{"physicalLocation": {"artifactLocation": _location(place)}}],
        "properties": {key: item.get(key) for key in keys},
    }


def _location(name: str) -> dict[str, str]:
    return {"uri": quote(name), "uriBaseId": BASE}


def _text(words: str) -> str:
    return printable(one_line(redact(words)))
