"""The report's headline: what the detector's verdict means, given what the run knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bdm_cli import verdict_words
from bdm_cli.attack_success import failed
from bdm_cli.html import numbers
from bdm_cli.html.material import Material, metric_name
from bdm_cli.html.table import STYLES

CLEAN_ROLE, BACKDOORED_ROLE = "clean", "backdoored"


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
        role: whose verdict it is: ``backdoored`` or ``clean``.
        facts: the verdict as in ``run.json``.
    """
    verdict = str(facts.get("verdict") or "no verdict")
    attacked = bool(material.spec().get("attack"))
    style = STYLES.get(verdict, "open")
    if verdict == "not identifiable":
        return Headline("Cannot tell", style, "the method cannot tell for this model")
    if counted := verdict_words.flagged(facts):
        rates = _rates(material, role)
        meaning = f"a count of flagged {verdict_words.UNITS[facts['level']]} is no verdict on the model"
        return Headline(counted[:1].upper() + counted[1:], "open", f"{rates}; {meaning}" if rates else meaning)
    if attacked and (role, verdict) == (BACKDOORED_ROLE, "clean"):
        rate = failed(material.results())
        if rate is not None:
            meaning = f"the detector found nothing, and the attack success rate is {numbers.percent(rate)}"
            return Headline("The attack did not take", "open", meaning)
        return Headline("Missed", "bad", "there is a backdoor, and the detector found nothing")
    if attacked and (role, verdict) == (CLEAN_ROLE, "backdoored"):
        return Headline("False alarm", "bad", "there is no backdoor, and the detector reports one")
    return Headline(verdict[:1].upper() + verdict[1:], style)


def stage_of(role: str) -> str:
    """The label of the stage that judged the model of a role."""
    return "detection on clean model" if role == CLEAN_ROLE else "detection"


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
