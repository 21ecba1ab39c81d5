"""Call a hook on a scoped manager and get what its specification says, or a clear error."""

from __future__ import annotations

import functools
import inspect
import typing
from typing import Any

import pluggy

from bdm_core import artifacts, context, figures, hookspecs, plugin, records
from bdm_core.errors import PluginError

HOOKS: dict[str, dict[str, Any]] = {
    name: value.bdm_spec for name, value in vars(hookspecs).items() if hasattr(value, "bdm_spec")
}
"""Every hook's name with pluggy's options for it."""


def implements(plugin: object, hook: str) -> bool:
    """Whether a plugin implements a hook."""
    cls = plugin if isinstance(plugin, type) else type(plugin)
    return getattr(getattr(cls, hook, None), "bdm_impl", None) is not None


@functools.cache
def annotations_of(hook: str) -> dict[str, Any]:
    """The types of a hook's arguments by name, and under ``return`` what it returns."""
    known = {**vars(artifacts), **vars(records), **vars(context), **vars(figures), **vars(plugin)}
    return typing.get_type_hints(getattr(hookspecs, hook), localns=known)


def takes(hook: str, argument: str) -> bool:
    """Whether a hook has an argument of this name."""
    return argument in inspect.signature(getattr(hookspecs, hook)).parameters


def call(manager: pluggy.PluginManager, hook: str, **arguments: Any) -> Any:
    """Call a hook: the first answer that is not None, or for ``score`` the lists of all plugins joined.

    Args:
        manager: with the plugins that take part, see :func:`bdm_core.discovery.candidates.scoped`.
        hook: its name.
        arguments: all arguments of the specification, by name.

    Raises:
        PluginError: an answer of another type than the specification says, or none where it demands one.
    """
    found = getattr(manager.hook, hook)(**arguments)
    wanted = annotations_of(hook)["return"]
    if HOOKS[hook].get("firstresult"):
        _check(manager, hook, found, wanted)
        return found
    if wanted is type(None):
        return None
    for answer in found:
        _check(manager, hook, answer, wanted)
    return [item for answer in found for item in answer]


def _check(manager: pluggy.PluginManager, hook: str, found: Any, wanted: Any) -> None:
    names = "plugin " + ", ".join(name for name, _ in manager.list_name_plugin())
    options = typing.get_args(wanted) if typing.get_origin(wanted) is not list else (wanted,)
    for option in options or (wanted,):
        if typing.get_origin(option) is list:
            inner = typing.get_args(option)[0]
            if isinstance(found, list) and all(isinstance(item, inner) for item in found):
                return
        elif isinstance(found, option):
            return
    expected = wanted.__name__ if isinstance(wanted, type) and not options else str(wanted).replace("bdm_core.", "")
    if found is None:
        raise PluginError(f"{names} returned nothing from {hook}; expected {expected}")
    inside = next((type(item).__name__ for item in found), "") if isinstance(found, list) else ""
    got = f"list of {inside}" if inside else type(found).__name__
    raise PluginError(f"{names} returned a {got} from {hook}; expected {expected}")
