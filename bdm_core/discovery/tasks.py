"""Which task a run is for, and which of the installed kits serves it."""

from __future__ import annotations

import logging
from typing import Any, Literal

from bdm_core.discovery.candidates import Candidate, find, installed, named
from bdm_core.errors import BdmError, PluginError, UserError
from bdm_core.files import existing
from bdm_core.machine.foreign import asked
from bdm_core.plugin import Kit
from bdm_core.records import BuiltIn


def kits_by_task() -> dict[str, list[Candidate]]:
    """Task tag -> the kits that serve it, from metadata: nothing is imported."""
    found: dict[str, list[Candidate]] = {}
    for candidate in installed("kit"):
        for task in candidate.tasks:
            found.setdefault(task, []).append(candidate)
    return found


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
        if task not in candidate.tasks:
            served = ", ".join(sorted(candidate.tasks)) or "no task"
            raise UserError(f"kit {wanted!r} does not serve task {task}; it serves {served}")
        return candidate
    known = kits_by_task()
    if task not in known:
        raise UserError(f"no installed kit serves task {task}; kits serve {', '.join(sorted(known)) or 'no task'}")
    found = [item for item in known[task] if item.allowed()] or known[task]
    if len(found) > 1:
        names = " and ".join(f"{item.name!r} of {item.distribution}" for item in found)
        plain = len({item.name for item in found}) == len(found)
        choices = " or ".join(f"--kit {item.name if plain else f'{item.distribution}:{item.name}'}" for item in found)
        raise PluginError(f"several installed kits serve task {task}: {names}; choose {choices}, or uninstall the rest")
    return found[0]


def choose_task(
    asked: str | None, chosen: list[tuple[str, str]], *, kit: str | None = None, model: str | None = None
) -> str:
    """The task that was asked for, or else one that an installed kit and all chosen plugins share.

    Where several remain, the model decides: a folder or built-in name that a kit knows. Where it does not, the kit of
    the highest ``precedence`` does, and among its tasks its first built-in model.

    Args:
        asked: the task's tag, or None.
        chosen: (kind, name) of the attack and the defenses.
        kit: the kit that was asked for, as for :func:`choose_kit`.
        model: the reference of the model, or None.

    Raises:
        UserError: there is no such task, or kits of equal precedence serve several.
        PluginError: a plugin of such a name is not installed.
    """
    candidates = {f"{kind}:{name}": named(kind, name) for kind, name in chosen}
    if asked is not None:
        return asked
    served = set(kits_by_task()) if kit is None else set(find("kit", kit).tasks)
    shared = set(served)
    for found in candidates.values():
        if all(item.tasks for item in found):
            shared &= {task for item in found for task in item.tasks}
    if not shared:
        declared = "; ".join(f"{name}: {_tasks_of(found)}" for name, found in candidates.items())
        raise UserError(
            f"no installed kit serves a task that all chosen plugins share ({declared}); "
            f"tasks that kits serve: {', '.join(sorted(served)) or 'none'}"
        )
    if len(shared) > 1 and model is not None:
        shared = shared & {task for task in tasks_of_model(model) if task in shared} or shared
    return next(iter(shared)) if len(shared) == 1 else _preferred(shared)


def tasks_of_model(reference: str) -> list[str]:
    """The tasks of the installed kits that know a model: by its built-in name or, for a local folder, its content.

    A kit that cannot be loaded is passed over.
    """
    found: list[str] = []
    folder = existing(reference)
    for kit in kits():
        try:
            with asked(f"kit {kit.name!r}"):
                tasks = [model.task for model in kit.models() if model.name == reference]
                if not tasks and folder is not None and folder.is_dir() and (task := kit.task_of(folder)):
                    tasks = [task] if task in kit.tasks else []
        except BdmError:  # what the folder is will be said where it is opened
            continue
        found += tasks
    return list(dict.fromkeys(found))


def kits(task: str | None = None) -> list[Kit]:
    """The installed kits, loaded, all or of one task; one that is broken or not allowed is passed over."""
    found: list[Kit] = []
    for candidate in installed("kit", task):
        try:
            plugin = candidate.load() if candidate.allowed() else None
        except PluginError:
            continue
        if isinstance(plugin, Kit):
            found.append(plugin)
    return found


def built_in(what: Literal["models", "data_sets"], task: str | None = None) -> list[dict[str, Any]]:
    """What comes with the installed kits.

    Args:
        what: ``models`` or ``data_sets``.
        task: only those for this task.

    Returns:
        Dictionaries with ``name``, ``task``, ``summary``, ``size``, ``quality``, ``kit``, and ``default``: whether the
        kit takes it for its task if nothing is named.
    """
    rows: list[dict[str, Any]] = []
    for kit in kits(task):
        items: list[BuiltIn] = []
        try:
            with asked(f"kit {kit.name!r} cannot list its {what.replace('_', ' ')}"):
                items += [BuiltIn.model_validate(item) for item in getattr(kit, what)()]
        except BdmError as error:
            logging.getLogger("bdm").warning("%s", error)
        for item in items:
            first = next(other for other in items if other.task == item.task)
            if task in (None, item.task):
                rows.append({**item.model_dump(), "kit": kit.name, "default": item is first})
    return rows


def _preferred(tasks: set[str]) -> str:
    ranks = {task: max((kit.precedence for kit in kits() if task in kit.tasks), default=0) for task in tasks}
    best = sorted(task for task in tasks if ranks[task] == max(ranks.values()))
    if len(best) > 1:
        for kit in kits():
            if kit.tasks >= set(best):
                return next((model.task for model in kit.models() if model.task in best), best[0])
        raise UserError(f"the chosen plugins work for several tasks: name one, --task {' or --task '.join(best)}")
    return best[0]


def _tasks_of(candidates: list[Candidate]) -> str:
    return ", ".join(sorted({task for item in candidates for task in item.tasks})) or "any"
