"""From the records of a defense's stages to measurements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bdm_core.records import Measurement, Subject

STAGES = {
    "clean": ("detection on clean model",),
    "backdoored": ("detection",),
    "purified": ("detection", "purified inputs", "purified inputs under trigger"),
    "repaired": ("detection", "repaired model"),
}
"""Role -> labels of the stages that its row has gone through."""
COUNTED = {
    "forward_passes": ("forward passes", "Samples that the defense sent forward through networks."),
    "backward_passes": ("backward passes", "Samples whose gradient the defense computed."),
    "clean_samples": ("clean samples", "Clean samples that the defense was given."),
}
"""What kits keep of a stage under ``cost`` -> how a table names it, what it means."""


def measure(subject: Subject) -> list[Measurement]:
    """The cost of the stages that made a row; nothing where no defense worked, and only what was counted.

    Times and passes of the stages add up; of clean samples and of memory the most of one stage counts.
    """
    stages = [_mapping(subject.stages[label]) for label in STAGES[subject.role] if label in subject.stages]
    if not stages:
        return []
    found = [_measurement("seconds", sum(float(stage["seconds"]) for stage in stages), "seconds", SECONDS)]
    peaks = [float(peak) / 2**20 for stage in stages if (peak := stage.get("peak_memory_bytes")) is not None]
    if peaks:
        found.append(_measurement("peak_memory", max(peaks), "peak memory in MiB", MEMORY))
    costs = [_mapping(_mapping(stage["figures"]).get("cost")) for stage in stages]
    for name, (label, description) in COUNTED.items():
        numbers = [float(cost[name]) for cost in costs if name in cost]
        if numbers:
            together = max if name == "clean_samples" else sum
            found.append(_measurement(name, together(numbers), label, description))
    return found


SECONDS = "Wall time of the defense's stages in seconds."
MEMORY = "Highest memory of the process in one of the defense's stages, with that on the device, in MiB."


def _measurement(metric: str, value: float, label: str, description: str) -> Measurement:
    return Measurement(
        metric=metric, value=value, higher_is_better=False, n=1, label=f"defense, {label}", description=description
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
