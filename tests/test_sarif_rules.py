"""The SARIF of a scan against the rules of version 2.1.0 for the objects that it uses (schema of OASIS, restated)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bdm_cli.sarif import log

LEVELS = {"none", "note", "warning", "error"}
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "log": ({"version", "runs"}, {"$schema"}),
    "run": ({"tool"}, {"invocations", "originalUriBaseIds", "artifacts", "results", "properties"}),
    "driver": ({"name"}, {"semanticVersion", "rules"}),
    "rule": ({"id"}, {"shortDescription", "defaultConfiguration"}),
    "invocation": ({"executionSuccessful"}, {"commandLine", "toolExecutionNotifications"}),
    "notification": ({"message"}, {"level"}),
    "artifact": (set(), {"location", "hashes"}),
    "result": ({"message"}, {"ruleId", "ruleIndex", "kind", "level", "locations", "properties"}),
}
"""Object -> the properties that it must have, and further ones that the schema knows."""


def has_form(kind: str, item: dict[str, Any]) -> None:
    needed, more = ALLOWED[kind]
    assert needed <= item.keys() <= needed | more, kind


@pytest.mark.parametrize("verdict", ["backdoored", "clean", "not identifiable"])
@pytest.mark.parametrize("calibrated", [True, False])
def test_every_object_has_the_form_of_the_schema(verdict: str, calibrated: bool) -> None:
    item = {
        "detector": "look",
        "verdict": verdict,
        "level": "model",
        "score": 1.5,
        "threshold": 1.0,
        "p_value": 0.05 if calibrated else None,
        "calibrated": calibrated,
        "access": ["weights"],
        "note": "why\nnot \x1b[31m",
        "seconds": 1.0,
    }
    found = {
        "task": "t",
        "verdict": verdict,
        "rule": "r",
        "p_value": None,
        "p_value_corrected": None,
        "checked": [item],
        "not_checked": {"sieve": "judges inputs"},
    }
    document = log(found, None, version="0.1.0", command="bdm scan m")
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    has_form("log", document)
    assert document["version"] == "2.1.0" and document["$schema"].startswith("https://")
    (run,) = document["runs"]
    has_form("run", run)
    has_form("driver", run["tool"]["driver"])
    (rule,), (result,), (invocation,) = run["tool"]["driver"]["rules"], run["results"], run["invocations"]
    has_form("rule", rule)
    has_form("result", result)
    has_form("invocation", invocation)
    assert rule["defaultConfiguration"]["level"] in LEVELS and rule["shortDescription"]["text"]
    assert result["ruleId"] == rule["id"] and result["ruleIndex"] == 0
    assert result["level"] in LEVELS and result["kind"] in {"pass", "open", "fail"}
    assert (result["kind"] == "fail") is (result["level"] != "none"), "section 3.27.10"
    assert result["message"]["text"] and not {"\n", "\x1b"} & set(result["message"]["text"])
    for notification in invocation["toolExecutionNotifications"]:
        has_form("notification", notification)
        assert notification["level"] in LEVELS
    for artifact in run["artifacts"]:
        has_form("artifact", artifact)
        assert not artifact["location"]["uri"].startswith("/")
