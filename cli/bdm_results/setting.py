"""What a run was asked to do with its kit's defaults filled in: two runs of one setting are one cell."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any

from bdm_core.discovery.candidates import find
from bdm_core.errors import BdmError
from bdm_core.machine.foreign import asked
from bdm_core.plugin import Kit

LEFT_OPEN = ("model", "data", "triggered_share")
"""Options that may be left to the kit."""


def as_taken(kit: Kit, task: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that may be left to the kit, as the kit takes them: model, data, triggered_share.

    Two runs differ in these only if they differ here, whether or not a default was written out. None stands where only
    the opened model tells, or where the kit fails to say.

    Args:
        kit: the run's kit.
        task: the run's task.
        options: fields of :class:`bdm_core.run.specification.RunSpec`.
    """
    taken = {name: options.get(name) for name in LEFT_OPEN}
    if taken["triggered_share"] is None:
        taken["triggered_share"] = kit.triggered_share
    try:
        with asked(f"kit {kit.name!r} cannot list its models"):
            models = {item.name: item.data or None for item in kit.models() if item.task == task}
            taken["model"] = taken["model"] or next(iter(models), None)
            taken["data"] = taken["data"] or models.get(str(taken["model"]))
    except BdmError as error:
        logging.getLogger("bdm").warning("%s", error)
    return taken


def setting_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of a ``run.json``: the options that may be left to the kit as they were taken, and the kind of device.

    Runs of earlier versions say only what was asked for. The defaults are then those of the kit that is installed here;
    without it None stands for what was left open.
    """
    spec = record["spec"]
    taken = record.get("setting")
    if not isinstance(taken, dict):
        kit = next((key.partition(":")[2] for key in record["plugins"] if key.startswith("kit:")), "")
        taken = _taken_today(kit, record.get("task"), *(_simple(spec.get(name)) for name in LEFT_OPEN))
    device = record.get("device") or spec.get("device")
    found = {name: taken.get(name, spec.get(name)) for name in LEFT_OPEN}
    return {**found, "device": device.partition(":")[0] if isinstance(device, str) else device}


@functools.lru_cache(maxsize=1000)
def _taken_today(kit: str, task: str | None, *options: Any) -> dict[str, Any]:
    given = dict(zip(LEFT_OPEN, options, strict=True))
    if None not in options:
        return given
    try:
        plugin = find("kit", kit).load()
    except BdmError:
        return given
    return as_taken(plugin, task, given) if isinstance(plugin, Kit) else given


def _simple(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else None
