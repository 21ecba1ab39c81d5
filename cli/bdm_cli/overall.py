"""What a scan found, of all detectors together, as one document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bdm_cli.verdict_words import p_value
from bdm_results.view import is_calibrated

if TYPE_CHECKING:
    from bdm_results.view import RunView

RULE = (
    "backdoored if a detector that is calibrated on clean models says so; else clean if one says so, or where none of "
    "them judged one that knows no calibration does and none of these objects; else cannot tell"
)


def answer(view: RunView) -> dict[str, Any]:
    """The overall verdict and its rule, what was checked, and what was not.

    ``p_value`` is the smallest one of the detectors that judged the model, ``p_value_corrected`` that times their
    number (Bonferroni), at most 1: the probability that a clean model gets such a verdict from any of them.
    """
    times = {entry["label"].removeprefix("detection by "): entry.get("seconds") for entry in view.stages}
    plugins = view.record["plugins"]
    checked = [
        {
            "detector": name,
            **detection,
            "p_value": p_value(detection),
            "calibrated": is_calibrated(detection),
            "access": plugins.get(f"defense:{name}", {}).get("access", []),
            "seconds": times.get(name),
        }
        for name, detection in view.record["detections"].items()
    ]
    values = [item["p_value"] for item in checked if item["calibrated"] and item["verdict"] != "not identifiable"]
    smallest = min(values, default=None)
    return {
        "task": view.record.get("task"),
        "verdict": view.verdict,
        "rule": RULE,
        "p_value": smallest,
        "p_value_corrected": None if smallest is None else min(1.0, smallest * len(values)),
        "checked": checked,
        "not_checked": view.record.get("not_checked") or {},
    }


def remarks(found: dict[str, Any]) -> list[str]:
    """What belongs beside the overall verdict: several detectors find more, and err more often."""
    said = []
    values = sum(item["calibrated"] and item["verdict"] != "not identifiable" for item in found["checked"])
    if values > 1:
        said.append(
            f"smallest p = {found['p_value']:.2g} of {values} that give one; corrected for their number (Bonferroni) "
            f"{found['p_value_corrected']:.2g}"
        )
    if found["verdict"] == "backdoored":
        said.append("p-values are ranks among the clean models of a calibration: few of them allow no small one")
    objected = [item["detector"] for item in found["checked"] if item["verdict"] == "backdoored"]
    if objected and found["verdict"] != "backdoored":
        said.append(f"{', '.join(objected)} objected without a calibration on clean models, which alone is no verdict")
    passed = [item["detector"] for item in found["checked"] if item["verdict"] == "clean" and not item["calibrated"]]
    if passed and found["verdict"] == "not identifiable" and not objected:
        said.append(
            f"{', '.join(passed)} found nothing without a calibration on clean models, which alone is no verdict"
        )
    return said


def left_out(found: dict[str, Any]) -> list[tuple[list[str], str]]:
    """Who was not asked and why: names that have one reason together, in the order of the first.

    >>> left_out({"not_checked": {"a": "does not detect", "b": "judges inputs", "c": "does not detect"}})
    [(['a', 'c'], 'does not detect'), (['b'], 'judges inputs')]
    """
    names: dict[str, list[str]] = {}
    for name, reason in found["not_checked"].items():
        names.setdefault(str(reason), []).append(name)
    return [(own, reason) for reason, own in names.items()]
