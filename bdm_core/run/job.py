"""One stage as a job: its key, the call of its hook, and what is kept beside its result."""

from __future__ import annotations

import errno
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.discovery.candidates import scoped
from bdm_core.errors import BdmError, StageError
from bdm_core.files import as_unicode
from bdm_core.hooks import call, takes
from bdm_core.machine.foreign import described, foreign_code, text_of
from bdm_core.machine.redaction import redact
from bdm_core.run.preparation import Loaded
from bdm_core.run.ranks import lone_hook
from bdm_core.store.stage_record import StageRecord, stage_key
from bdm_core.store.store import disk_error

DISTRIBUTED = frozenset({"inject_backdoor", "repair"})
"""Hooks that every process of an ``accelerate launch`` enters, if the plugin is ``distributed``."""
BLIND = frozenset({"detect", "repair", "purify_inputs"})
"""Hooks whose inputs are handed over under neutral paths, so that no folder name tells where a model came from."""


@dataclass
class Finished:
    """A finished stage: what the hook returned, and its record."""

    value: Any
    record: StageRecord
    cached: bool


@dataclass(frozen=True)
class Job:
    """One stage to run.

    Attributes:
        hook: the hook's name; the stage is called like it, with hyphens.
        plugins: who takes part, the first one asked first.
        inputs: the hook's arguments.
        label: what the user calls this stage.
        finish: called with the hook's answer and context within the stage; what it returns counts.
        black_box: the model that ``ctx.query`` asks; None if the plugin may not.
        payload: everything that decides the result, and its hash.
        together: whether all ranks of a launch enter the hook.
    """

    hook: str
    plugins: list[Loaded]
    inputs: dict[str, Any]
    label: str
    finish: Callable[[Any, Context], Any] | None
    black_box: Model | None
    payload: dict[str, Any]
    together: bool = False

    @property
    def stage(self) -> str:
        return self.hook.replace("_", "-")

    @functools.cached_property
    def key(self) -> str:
        return stage_key(self.payload)

    def call(self, ctx: Context, inputs: dict[str, Any]) -> Any:
        """Call the hook on inputs, which are the job's own or copies of them.

        Raises:
            StageError: a plugin failed; the message names stage, plugin and error.
            BdmError: a plugin reported a clear error of its own.
        """
        plugin = self.plugins[0]
        manager = scoped(*(item.plugin for item in self.plugins))
        if takes(self.hook, "params"):
            inputs = {"params": plugin.params.for_stage(self.stage), **inputs}
        try:
            with lone_hook(plugin.id, self.stage, not self.together), foreign_code():
                value = call(manager, self.hook, ctx=ctx, **inputs)
                return value if self.finish is None else self.finish(value, ctx)
        except BdmError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk_error(error) from error
            raise StageError(f"{plugin.id} failed while making {self.label!r}: {described(error)}") from error


@dataclass
class Kept:
    """What a stage keeps beside its result: figures that its hook gave, warnings that were logged meanwhile."""

    figures: dict[str, JsonValue] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, new: dict[str, Any]) -> None:
        """Add figures; mappings of one name are merged."""
        for name, value in new.items():
            old = self.figures.get(name)
            self.figures[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value


class WarningsOf(logging.Handler):
    """Keeps the warnings of one stage for its record."""

    def __init__(self, kept: Kept) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning once, unless it is not the stage's."""
        message = as_unicode(redact(text_of(record)))
        if message not in self._kept.warnings and not hasattr(record, "not_the_stages"):
            self._kept.warnings.append(message)
