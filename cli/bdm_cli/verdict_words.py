"""How a detector's answer reads, in the terminal and in the report: one word for one thing."""

from __future__ import annotations

from collections import Counter
from typing import Any

CANNOT_TELL = "cannot tell"
UNITS = {"input": "inputs", "data": "training rows"}
"""Level of a detection -> what it judges one by one."""


def shown(verdict: str) -> str:
    """A verdict as a user reads it; what records call ``not identifiable`` is *cannot tell*."""
    return verdict.replace("not identifiable", CANNOT_TELL)


def flagged(detection: dict[str, Any]) -> str:
    """How many rows a detector of inputs or of training rows flags; "" for one that judges the model.

    >>> flagged({"level": "input", "verdict": "", "judged": 800, "flagged": 45})
    '45 of 800 inputs flagged'
    """
    unit = UNITS.get(str(detection.get("level")))
    if unit is None or detection.get("verdict") == "not identifiable":
        return ""
    if detection.get("judged") is None:  # recorded by an earlier version
        return f"some {unit} may be flagged"
    return f"{detection['flagged']} of {detection['judged']} {unit} flagged"


def tally(checked: list[dict[str, Any]]) -> str:
    """Who of several detectors said what.

    >>> tally([{"detector": "elijah", "verdict": "backdoored"}, {"detector": "terd", "verdict": "not identifiable"}])
    'of 2 detectors elijah says backdoored, terd cannot tell'
    >>> tally([{"detector": name, "verdict": "clean"} for name in ("elijah", "terd")])
    'of 2 detectors elijah and terd say clean'
    >>> tally([{"detector": "elijah", "verdict": "clean"}])
    'elijah says clean'
    """
    parts = []
    for verdict in ("backdoored", "clean", "not identifiable", ""):
        names = [item["detector"] for item in checked if item["verdict"] == verdict]
        said = {"not identifiable": CANNOT_TELL, "": "counts only rows" if len(names) == 1 else "count only rows"}
        verb = "" if verdict in said else "says " if len(names) == 1 else "say "
        if names:
            parts.append(f"{_listed(names)} {verb}{said.get(verdict, verdict)}")
    of_all = f"of {len(checked)} detectors " if len(checked) > 1 else ""
    return of_all + ", ".join(parts)


def p_value(detection: dict[str, Any]) -> float | None:
    """The p-value of a verdict; None also where the detector cannot tell, for a number would look like an answer."""
    return None if detection.get("verdict") == "not identifiable" else detection.get("p_value")


def sees(detection: dict[str, Any]) -> list[str]:
    """What a detector of a scan sees: its access; clean data that only its repair uses are named as such."""
    unused = {"clean-data"} if detection.get("clean_samples") == 0 else set()
    return [f"{name} (0 used)" if name in unused else str(name) for name in detection.get("access") or []]


def _listed(names: list[str]) -> str:
    counts = [name if count == 1 else f"{name} ({count} times)" for name, count in Counter(names).items()]
    return " and ".join([", ".join(counts[:-1]), counts[-1]] if len(counts) > 1 else counts)
