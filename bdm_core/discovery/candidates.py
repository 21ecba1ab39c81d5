"""Find plugins by their entry points without importing them; load and check only the ones that a run names."""

from __future__ import annotations

import difflib
import importlib.metadata
import inspect
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

from bdm_core import API_VERSION
from bdm_core.discovery.origin import distribution_digest
from bdm_core.errors import PluginError

if TYPE_CHECKING:
    from bdm_core.plugin import Plugin

TYPE_GROUPS = {f"bdm.{kind}s": kind for kind in ("attack", "defense", "metric", "kit", "observer", "executor")}
NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]*")
ALLOW_LIST = "BDM_PLUGINS"
"""Environment variable: if set, a comma-separated list of the distributions whose plugins may be loaded."""


@dataclass(frozen=True)
class Candidate:
    """An installed plugin that is known from metadata alone; nothing of it has been imported."""

    kind: str
    name: str
    target: str
    distribution: str
    version: str
    summary: str
    entry: importlib.metadata.EntryPoint
    dist: importlib.metadata.Distribution

    @property
    def id(self) -> str:
        """``kind:name``."""
        return f"{self.kind}:{self.name}"

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
        from bdm_core.plugin import Plugin

        where = f"plugin {self.id} of {self.distribution} {self.version}"
        if not self.allowed():
            listed = os.environ.get(ALLOW_LIST)
            raise PluginError(f"{where} is not in the allow-list {ALLOW_LIST}={listed}: add its distribution there")
        try:
            loaded = self.entry.load()
        except Exception as error:  # a plugin's import may fail in any way
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise PluginError(f"{where} cannot be imported from {self.target}: {reason}") from error
        if not (isinstance(loaded, type) and issubclass(loaded, Plugin)):
            raise PluginError(f"{where}: {self.target} is no subclass of bdm_core.plugin.Plugin")
        if loaded.api != API_VERSION:
            raise PluginError(
                f"{where} is written for plugin API {loaded.api}, this bdm has {API_VERSION}: "
                f"install a version of {self.distribution} for API {API_VERSION}"
            )
        if (loaded.kind, loaded.name) != (self.kind, self.name):
            raise PluginError(f"{where}: its class says {loaded.kind}:{loaded.name}; the entry point must say the same")
        try:
            plugin = loaded()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise PluginError(f"{where}: {self.target} cannot be instantiated without arguments: {reason}") from error
        scoped(plugin)
        return plugin

    def origin(self) -> dict[str, str]:
        """What identifies the code: distribution, version, and a digest of the installed files.

        For an editable install the digest is taken over the source files, so that editing a plugin makes new stages.
        """
        return {"distribution": self.distribution, "version": self.version, "digest": distribution_digest(self.dist)}


def installed(kind: str | None = None) -> list[Candidate]:
    """Every installed plugin, from metadata only, sorted by kind and name. Works with broken plugins."""
    found: dict[tuple[str, str, str], Candidate] = {}
    for dist in importlib.metadata.distributions():
        for entry in dist.entry_points:
            entry_kind = TYPE_GROUPS.get(entry.group)
            if entry_kind is None or kind not in (None, entry_kind):
                continue
            meta = dist.metadata
            key = (entry_kind, entry.name, meta["Name"])
            if key not in found:  # an earlier path entry shadows a later one, as for import
                found[key] = Candidate(
                    entry_kind, entry.name, entry.value, meta["Name"], dist.version, meta["Summary"] or "", entry, dist
                )
    return [found[key] for key in sorted(found)]


def find(kind: str, name: str) -> Candidate:
    """The one installed plugin of this kind and name; ``DISTRIBUTION:NAME`` settles a clash.

    Raises:
        PluginError: none of this name (with the nearest one as a suggestion), or several.
    """
    wanted, _, plain = name.rpartition(":")
    candidates = installed(kind)
    matches = [item for item in candidates if item.name == plain and wanted in ("", item.distribution)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        choices = " or ".join(f"{item.distribution}:{item.name}" for item in matches)
        raise PluginError(f"several installed distributions have a {kind} {plain!r}: choose {choices}")
    known = sorted({item.name for item in candidates})
    near = difflib.get_close_matches(plain, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"installed: {', '.join(known) or 'none'}"
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
