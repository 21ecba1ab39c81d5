"""Which task a run is for, and which of the installed kits serves it; from metadata, nothing is imported."""

from __future__ import annotations

from bdm_core.discovery.candidates import Candidate, find, installed
from bdm_core.errors import PluginError, UserError
from bdm_core.plugin import Plugin, identifier

PREFERRED_TASK = "unconditional-image-generation"
"""The task of a run whose plugins work for several."""


def kits_by_task() -> dict[str, list[Candidate]]:
    """Task tag -> the kits that serve it, from the entry-point group ``bdm.tasks``."""
    kits: dict[str, list[Candidate]] = {}
    for candidate in installed("kit"):
        for task in _tasks_of(candidate):
            kits.setdefault(task, []).append(candidate)
    return kits


def choose_kit(task: str, wanted: str | None = None) -> Candidate:
    """The kit for a task: the one that was asked for, or else the only one that is installed and may be loaded.

    Args:
        task: the task's tag.
        wanted: the kit's name, or ``DISTRIBUTION:NAME``; None for whichever serves the task.

    Raises:
        UserError: no kit serves the task, or the one that was asked for does not.
        PluginError: several kits serve it; or none has the name that was asked for, or several have it.
    """
    if wanted is not None:
        candidate = find("kit", wanted)
        if task not in _tasks_of(candidate):
            served = ", ".join(_tasks_of(candidate)) or "no task"
            raise UserError(f"kit {wanted!r} does not serve task {task}; it serves {served}")
        return candidate
    kits = kits_by_task()
    if task not in kits:
        raise UserError(f"no installed kit serves task {task}; kits serve {', '.join(sorted(kits)) or 'no task'}")
    found = [item for item in kits[task] if item.allowed()] or kits[task]
    if len(found) > 1:
        names = " and ".join(f"{item.name!r} of {item.distribution}" for item in found)
        plain = len({item.name for item in found}) == len(found)
        choices = " or ".join(f"--kit {item.name if plain else f'{item.distribution}:{item.name}'}" for item in found)
        raise PluginError(f"several installed kits serve task {task}: {names}; choose {choices}, or uninstall the rest")
    return found[0]


def choose_task(asked: str | None, plugins: list[Plugin], kit: str | None = None) -> str:
    """The task that was asked for, or else one that all chosen plugins and an installed kit share.

    Args:
        asked: the task's tag, or None.
        plugins: the chosen attack and defenses.
        kit: the kit that was asked for, as for :func:`choose_kit`.

    Raises:
        UserError: there is no such task.
        PluginError: no kit has the name that was asked for, or several have it.
    """
    if asked is not None:
        return asked
    served = set(kits_by_task() if kit is None else _tasks_of(find("kit", kit)))
    shared = set(served)
    for plugin in plugins:
        if plugin.tasks:
            shared &= plugin.tasks
    if not shared:
        each = {identifier(item): ", ".join(sorted(item.tasks)) or "any" for item in plugins}
        declared = "; ".join(f"{name}: {tasks}" for name, tasks in each.items())
        raise UserError(f"no installed kit serves a task that all chosen plugins share ({declared}); kits: "
                        f"{', '.join(sorted(served)) or 'none'}")  # fmt: skip
    return PREFERRED_TASK if PREFERRED_TASK in shared else min(shared)


def _tasks_of(kit: Candidate) -> list[str]:
    entries = kit.dist.entry_points
    return sorted({entry.name for entry in entries if entry.group == "bdm.tasks" and entry.value == kit.target})
