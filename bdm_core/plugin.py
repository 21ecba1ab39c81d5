"""What a plugin is: a class with a name, described parameters and hook implementations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pluggy
from pydantic import BaseModel, ConfigDict, Field

from bdm_core import API_VERSION

__all__ = ["KINDS", "Field", "Params", "Plugin", "hookimpl", "hookspec", "identifier"]

KINDS = ("attack", "defense", "metric", "kit", "observer", "executor")
"""The kinds of plugin. The entry-point group of a kind is ``bdm.<kind>s``."""

hookspec = pluggy.HookspecMarker("bdm")
hookimpl = pluggy.HookimplMarker("bdm")


class Params(BaseModel):
    """Base of a plugin's parameters: frozen, unknown names refused, every field with a description and a default.

    A field may say ``json_schema_extra={"stages": ["generate"]}``: it then counts only for those stages, so that
    changing it repeats those stages alone. In every other stage such a field has its default value. NaN and infinity
    are refused. A string that is the path of an existing file counts by the file's content.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, protected_namespaces=(), allow_inf_nan=False
    )

    def for_stage(self, stage: str) -> Params:
        """These parameters with every field that does not count for ``stage`` set back to its default."""
        foreign = set()
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and "stages" in extra and stage not in (extra["stages"] or []):  # type: ignore[operator]
                foreign.add(name)
        return type(self)(**self.model_dump(exclude=foreign, exclude_unset=False)) if foreign else self


AnyParams = Params  # within Plugin the name Params is its class attribute


class Plugin:
    """Base of every plugin. Subclass it once, set the class attributes, implement hooks with ``@hookimpl``.

    The module that holds the class must be light: import torch and the like inside the hooks.

    Attributes:
        api: the version of this interface the plugin was written for.
        kind: one of :data:`KINDS`; must agree with the entry-point group.
        name: must agree with the entry point; ``[a-z][a-z0-9-]*``.
        summary: one line for ``bdm plugins list``-style output and the documentation.
        tasks: task tags it works for; empty means every task.
        paper: a link to the paper, or "".
        Params: the class of its parameters.
        presets: named parameter sets, chosen by ``--set KIND:NAME.preset=PRESET``.
        level: for a defense with ``detect``: what it judges, ``model`` or ``input`` (``data`` has no stage yet).
        distributed: True if the hooks ``inject_backdoor`` and ``repair`` use collectives, e.g. train on Accelerate:
            under ``accelerate launch`` every rank then enters them, and only ``ctx.rank == 0`` writes ``ctx.work``.
            In all other hooks rank 0 works alone, so that they must not use collectives, although the process group
            may still exist (torchmetrics: ``sync_on_compute=False``). A training loop of your own that uses
            collectives calls :func:`bdm_core.ranks.require_all_ranks` first: an error instead of waiting for ever.
    """

    api: ClassVar[int] = API_VERSION
    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    tasks: ClassVar[frozenset[str]] = frozenset()
    paper: ClassVar[str] = ""
    Params: ClassVar[type[AnyParams]] = AnyParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    level: ClassVar[str] = "model"
    distributed: ClassVar[bool] = False

    def kit_params(self, params: AnyParams) -> Mapping[str, Any]:
        """Values this plugin suggests for the task kit's parameters, e.g. the sampler its backdoor was built for.

        They replace the kit's defaults; what the user sets replaces them. Only the attack is asked. It may suggest
        only fields that declare their ``stages``, none of which is ``detect`` or ``repair``: in those stages such a
        field has its default value (:meth:`Params.for_stage`), so that no defense learns anything from it.
        """
        return {}


def identifier(plugin: Plugin | type[Plugin]) -> str:
    """``kind:name``, the key of everything that belongs to a plugin."""
    return f"{plugin.kind}:{plugin.name}"
