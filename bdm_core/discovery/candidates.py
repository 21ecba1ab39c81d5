"""Find plugins by their entry points without importing them; load and check only the ones that a run names."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import logging
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

from bdm_core import API_VERSION
from bdm_core.errors import PluginError, nearest

if TYPE_CHECKING:
    from bdm_core.plugin import Plugin

TYPE_GROUPS = {f"bdm.{kind}s": kind for kind in ("attack", "defense", "metric", "kit", "observer", "executor")}
TASKS = "bdm.tasks"
"""The entry-point group that says which task a plugin works for: ``TASK`` or ``TASK.ANYTHING`` = its target."""
NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]*")
ALLOW_LIST = "BDM_PLUGINS"
"""Environment variable: if set, a comma-separated list of the distributions whose plugins may be loaded."""


@dataclass(frozen=True)
class Candidate:
    """An installed plugin that is known from metadata alone; nothing of it has been imported.

    Attributes:
        kind: its kind.
        name: its name.
        target: ``package.module:Class``.
        tasks: the tasks it works for, from the entry-point group ``bdm.tasks``; empty for every task.
        entry: its entry point.
        dist: the distribution it comes from.
    """

    kind: str
    name: str
    target: str
    tasks: frozenset[str]
    entry: importlib.metadata.EntryPoint
    dist: importlib.metadata.Distribution

    @property
    def id(self) -> str:
        """``kind:name``."""
        return f"{self.kind}:{self.name}"

    @functools.cached_property
    def _headers(self) -> dict[str, str]:
        return headers_of(self.dist)

    @property
    def distribution(self) -> str:
        """The distribution's name."""
        return self._headers.get("name", "?")

    @property
    def version(self) -> str:
        """The distribution's version."""
        return self._headers.get("version", "?")

    @property
    def summary(self) -> str:
        """The distribution's summary; "" without one."""
        return self._headers.get("summary", "")

    def serves(self, task: str | None) -> bool:
        """Whether it works for a task; everything does for None."""
        return task is None or not self.tasks or task in self.tasks

    @property
    def package(self) -> str:
        """The import package that the entry point names."""
        return self.target.partition(":")[0].partition(".")[0]

    def allowed(self) -> bool:
        """Whether the plugin may be loaded: there is no allow-list, or its distribution is on it."""
        listed = os.environ.get(ALLOW_LIST)
        return listed is None or self.distribution in {name.strip() for name in listed.split(",")}

    def load(self) -> Plugin:
        """Import the plugin's class, check it, and return an instance.

        Raises:
            PluginError: not allowed, does not import, is no Plugin, or disagrees with its entry point or this API.
        """
        from bdm_core.machine.foreign import asked

        where = f"plugin {self.id} of {self.distribution} {self.version}"
        with asked(f"{where} cannot be loaded from {self.target}"):
            return self._load(where)

    def _load(self, where: str) -> Plugin:
        from bdm_core.machine.foreign import asked
        from bdm_core.plugin import BASES, Params, Plugin

        if not self.allowed():
            listed = os.environ.get(ALLOW_LIST)
            raise PluginError(f"{where} is not in the allow-list {ALLOW_LIST}={listed}: add its distribution there")
        with asked(f"{where} cannot be imported from {self.target}"):
            loaded = self.entry.load()
        if not (isinstance(loaded, type) and issubclass(loaded, Plugin)):
            raise PluginError(f"{where}: {self.target} is no subclass of bdm_core.plugin.Plugin")
        if loaded.api != API_VERSION:
            raise PluginError(
                f"{where} is written for plugin API {loaded.api}, this bdm has {API_VERSION}: "
                f"install a version of {self.distribution} for API {API_VERSION}"
            )
        if (loaded.kind, loaded.name) != (self.kind, self.name):
            raise PluginError(f"{where}: its class says {loaded.kind}:{loaded.name}; the entry point must say the same")
        if not issubclass(loaded, BASES[self.kind]):  # a bare Plugin gets what its kind has by default
            loaded = type(loaded.__name__, (loaded, BASES[self.kind]), {"__module__": loaded.__module__})
        if loaded.tasks != self.tasks:
            said, listed = (", ".join(sorted(tasks)) or "every task" for tasks in (loaded.tasks, self.tasks))
            raise PluginError(f"{where}: its class works for {said}, its entry points in bdm.tasks say {listed}")
        with asked(f"{where}: {self.target} cannot be instantiated without arguments"):
            plugin: Plugin = loaded()
        if not (isinstance(plugin.Params, type) and issubclass(plugin.Params, Params)):
            raise PluginError(f"{where}: its Params is no subclass of bdm_core.Params")
        scoped(plugin)
        return plugin


def headers_of(dist: importlib.metadata.Distribution) -> dict[str, str]:
    """The headers of a distribution's metadata by lower-case name, without parsing the README that follows."""
    text = dist.read_text("METADATA") or dist.read_text("PKG-INFO") or ""
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines() if line[:1].strip())
    return {name.lower(): value.strip() for name, colon, value in lines if colon}


def installed(kind: str | None = None, task: str | None = None) -> list[Candidate]:
    """Every installed plugin, from metadata only, sorted by kind and name. Works with broken plugins.

    Args:
        kind: only this kind.
        task: only those that work for this task.
    """
    return [item for item in _candidates(_state_of_path()) if kind in (None, item.kind) and item.serves(task)]


def _state_of_path() -> tuple[tuple[str, int], ...]:
    """The import path with the time of each folder's last change, so that a new installation is noticed."""
    times = []
    for entry in sys.path:
        try:
            times.append((entry, os.stat(entry or ".").st_mtime_ns))  # noqa: PTH116 - at every start
        except OSError:
            times.append((entry, 0))
    return tuple(times)


@functools.lru_cache(maxsize=4)
def _candidates(path: tuple[tuple[str, int], ...]) -> list[Candidate]:
    found: dict[tuple[str, str, str], Candidate] = {}
    for dist in importlib.metadata.distributions():
        try:
            entries = [entry for entry in dist.entry_points if entry.group.startswith("bdm.")]
            for entry in entries:
                kind = TYPE_GROUPS.get(entry.group)
                if kind is None:
                    continue
                own = (item.name for item in entries if (item.group, item.value) == (TASKS, entry.value))
                tasks = frozenset(name.partition(".")[0] for name in own)
                candidate = Candidate(kind, entry.name, entry.value, tasks, entry, dist)
                found.setdefault(
                    (kind, entry.name, candidate.distribution), candidate
                )  # as for import, the first counts
        except Exception as error:  # one damaged distribution must not hide the others
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            logging.getLogger("bdm").warning("a distribution in %s is damaged: %s", dist.locate_file(""), reason)
    return [found[key] for key in sorted(found)]


def find(kind: str, name: str, task: str | None = None) -> Candidate:
    """The one installed plugin of this kind and name that works for a task; ``DISTRIBUTION:NAME`` settles a clash.

    Raises:
        PluginError: none of this name (with the nearest one as a suggestion), none for the task, or several.
    """
    matches = named(kind, name)
    fitting = [item for item in matches if item.serves(task)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        declared = ", ".join(sorted({tag for item in matches for tag in item.tasks}))
        raise PluginError(f"{kind} {name!r} does not work for task {task}; it works for {declared}")
    choices = " or ".join(f"{item.distribution}:{item.name}" for item in fitting)
    raise PluginError(f"several installed distributions have a {kind} {fitting[0].name!r}: choose {choices}")


def named(kind: str, name: str) -> list[Candidate]:
    """All installed plugins of this kind and name, at least one. Raises PluginError, with the nearest name, if none."""
    wanted, _, plain = name.rpartition(":")
    candidates = installed(kind)
    matches = [item for item in candidates if item.name == plain and wanted in ("", item.distribution)]
    if matches:
        return matches
    known = sorted({item.name for item in candidates})
    others = [f"it is of kind {item.kind}" for item in installed() if item.name == plain]
    hint = (others or [nearest(plain, known, f"installed: {', '.join(known) or 'none'}", cutoff=0.5)])[0]
    raise PluginError(f"no {kind} {name!r} is installed; {hint} (bdm plugins list)")


def scoped(*plugins: object) -> pluggy.PluginManager:
    """A fresh plugin manager that holds just these plugins, the first one called first.

    Raises:
        PluginError: an implementation has the wrong name, asks for an argument that its hook does not offer, or takes
            its arguments in another way than by plain names.
    """
    from bdm_core import hookspecs
    from bdm_core.plugin import identifier

    manager = pluggy.PluginManager("bdm")
    manager.add_hookspecs(hookspecs)
    for plugin in reversed(plugins):  # pluggy calls the last one registered first
        label = identifier(plugin)  # type: ignore[arg-type]
        odd = odd_arguments(plugin)
        if odd:
            raise PluginError(f"plugin {label} does not fit the hook specifications: {odd[0]}")
        try:
            manager.register(plugin, name=label)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            reason = " ".join(str(error).split())
            if "secret" in reason and getattr(plugin, "kind", "") == "defense":
                reason += " - a defense never sees the attack's secret"
            raise PluginError(f"plugin {label} does not fit the hook specifications: {reason}") from error
    return manager


def odd_arguments(plugin: object) -> list[str]:
    """Complaints about arguments of hook implementations with a default, keyword-only, or ``*`` and ``**``.

    pluggy would silently leave them out of the call.
    """
    complaints = []
    for name in dir(type(plugin)):
        if getattr(getattr(type(plugin), name, None), "bdm_impl", None) is None:
            continue
        for argument in inspect.signature(getattr(plugin, name)).parameters.values():
            if argument.kind is not argument.POSITIONAL_OR_KEYWORD or argument.default is not argument.empty:
                complaints.append(f"{name} takes {argument}: hooks take plain arguments by name, without defaults")
    return complaints
