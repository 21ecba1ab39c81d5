"""What a task needs of a machine: declared by its plugin, or as much as the store has recorded."""

from __future__ import annotations

import functools

from bdm_core.discovery.candidates import named
from bdm_core.errors import PluginError
from bdm_core.run.preparation import choose_device
from bdm_core.run.specification import RunSpec
from bdm_sweep.graph import Task
from bdm_sweep.times import Times

GIB = 2**30
UNITS = ("cpus", "gpus", "memory_gib", "hours")


class Needs:
    """Looks up what tasks need.

    Args:
        times: what the store has recorded.
        here: whether tasks run on this machine, so that ``auto`` is what this machine has.
    """

    def __init__(self, times: Times, *, here: bool) -> None:
        self._times, self._here = times, here

    def of(self, task: Task, spec: RunSpec) -> dict[str, float]:
        """``cpus``, ``gpus``, ``memory`` in bytes and ``hours``; those that are known."""
        needs: dict[str, float] = {"cpus": 1.0, "gpus": 0.0}
        if not task.label:
            return needs
        declared = declared_by(task.plugins[0], task.stage)
        recorded = self._times.memory(task.stage, task.plugins)
        if recorded:
            needs["memory"] = float(recorded)
        device = choose_device("auto") if spec.device == "auto" and self._here else spec.device
        if device.startswith("cuda"):
            needs["gpus"] = 1.0
        needs |= {name: float(value) for name, value in declared.items() if name in ("cpus", "gpus", "hours")}
        if "memory_gib" in declared:
            needs["memory"] = max(float(recorded), declared["memory_gib"] * GIB)
        return needs


@functools.cache
def declared_by(plugin: str, stage: str) -> dict[str, float]:
    """What a plugin says that a stage needs. A plugin that cannot be loaded here declares nothing."""
    kind, _, name = plugin.partition(":")
    try:
        resources = named(kind, name)[0].load().resources
    except PluginError:
        return {}
    found = resources.get(stage, resources.get("*", {}))
    return {unit: float(value) for unit, value in found.items() if unit in UNITS}
