"""The report's headline: what the detector's verdict means, given what the run knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bdm_cli.html import numbers
from bdm_cli.html.material import Material, metric_name
from bdm_cli.html.table import STYLES

CLEAN_ROLE, BACKDOORED_ROLE = "clean", "backdoored"
UNITS = {"input": "inputs", "data": "training rows"}
"""Level of a detection -> what it judges one by one."""


@dataclass(frozen=True)
class Headline:
    """A few words, their style (``bad``, ``good``, ``open``), and what they mean in a sentence or ""."""

    text: str
    style: str
    meaning: str = ""


def headline(material: Material, role: str, facts: dict[str, Any]) -> Headline:
    """What to say about one model.

    Args:
        material: the run.
        role: whose verdict it is: ``backdoored``, ``clean``, or ``model`` for a scan.
        facts: the verdict as in ``run.json``.
    """
    verdict = str(facts.get("verdict") or "no verdict")
    attacked = bool(material.spec().get("attack"))
    style = STYLES.get(verdict, "open")
    if verdict == "not identifiable":
        return Headline("Cannot tell", style, "the method cannot tell for this model")
    if attacked and (role, verdict) == (BACKDOORED_ROLE, "clean"):
        return Headline("Missed", "bad", "there is a backdoor, and the detector found nothing")
    unit = UNITS.get(str(facts.get("level")))
    if unit is not None:
        return Headline(_flagged(material, role, facts, unit), style, _rates(material, role))
    if attacked and (role, verdict) == (CLEAN_ROLE, "backdoored"):
        return Headline("False alarm", "bad", "there is no backdoor, and the detector reports one")
    return Headline(verdict[:1].upper() + verdict[1:], style)


def stage_of(role: str) -> str:
    """The label of the stage that judged the model of a role."""
    return "detection on clean model" if role == CLEAN_ROLE else "detection"


def _flagged(material: Material, role: str, facts: dict[str, Any], unit: str) -> str:
    detection = material.detection(stage_of(role))
    if detection is None:  # the store does not hold it any more
        return f"No {unit} flagged" if facts.get("verdict") == "clean" else f"Some {unit} flagged"
    flagged = sum(score > detection.threshold for score in detection.scores)
    return f"{flagged} of {len(detection.scores)} {unit} flagged"


def _rates(material: Material, role: str) -> str:
    """True and false positive rate, as far as the run measured them."""
    found: dict[str, float] = {}
    for line in material.results():
        value = numbers.finite(line.get("value"))
        if line.get("row") == role and value is not None:
            found.setdefault(metric_name(str(line.get("metric"))), value)
    if "tnr" in found:
        found.setdefault("fpr", 1 - found["tnr"])
    names = {"tpr": "true positive rate", "fpr": "false positive rate"}
    return ", ".join(f"{text} {numbers.percent(found[name])}" for name, text in names.items() if name in found)
