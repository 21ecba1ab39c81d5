"""One typed function per hook: call it on a scoped manager and get the declared type, or a clear error."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import pluggy

from bdm_core.artifacts import Backdoored, Data, Detection, Measurement, Model, Outputs, Secret, Subject
from bdm_core.context import Context
from bdm_core.errors import PluginError
from bdm_core.plugin import Params

Result = TypeVar("Result")


def implements(plugin: object, hook: str) -> bool:
    """Whether a plugin implements a hook."""
    return getattr(getattr(plugin, hook, None), "bdm_impl", None) is not None


def _first(manager: pluggy.PluginManager, hook: str, expected: type[Result], arguments: dict[str, Any]) -> Result:
    result = _first_or_none(manager, hook, expected, arguments)
    if result is None:
        raise PluginError(f"{_names(manager)} returned nothing from {hook}; expected a {expected.__name__}")
    return result


def _first_or_none(
    manager: pluggy.PluginManager, hook: str, expected: type[Result], arguments: dict[str, Any]
) -> Result | None:
    result = getattr(manager.hook, hook)(**arguments)
    if result is not None and not isinstance(result, expected):
        raise PluginError(
            f"{_names(manager)} returned a {type(result).__name__} from {hook}; expected a {expected.__name__}"
        )
    return result


def _names(manager: pluggy.PluginManager) -> str:
    return "plugin " + ", ".join(name for name, _ in manager.list_name_plugin())


def poison_data(
    manager: pluggy.PluginManager,
    ctx: Context,
    params: Params,
    data: Data,
    split: Literal["train", "trigger"],
    secret: Secret | None,
) -> Data | None:
    """Call ``poison_data``."""
    arguments = {"ctx": ctx, "params": params, "data": data, "split": split, "secret": secret}
    return _first_or_none(manager, "poison_data", Data, arguments)


def inject_backdoor(
    manager: pluggy.PluginManager, ctx: Context, params: Params, model: Model, data: Data
) -> Backdoored:
    """Call ``inject_backdoor``."""
    arguments = {"ctx": ctx, "params": params, "model": model, "data": data}
    return _first(manager, "inject_backdoor", Backdoored, arguments)


def detect(
    manager: pluggy.PluginManager, ctx: Context, params: Params, model: Model, data: Data, suspects: Data
) -> Detection:
    """Call ``detect``."""
    arguments = {"ctx": ctx, "params": params, "model": model, "data": data, "suspects": suspects}
    return _first(manager, "detect", Detection, arguments)


def repair(
    manager: pluggy.PluginManager, ctx: Context, params: Params, model: Model, data: Data, detection: Detection | None
) -> Model:
    """Call ``repair``."""
    arguments = {"ctx": ctx, "params": params, "model": model, "data": data, "detection": detection}
    return _first(manager, "repair", Model, arguments)


def generate(manager: pluggy.PluginManager, ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs:
    """Call ``generate``; the task kit answers if the attack does not."""
    return _first(manager, "generate", Outputs, {"ctx": ctx, "model": model, "inputs": inputs, "secret": secret})


def score(manager: pluggy.PluginManager, ctx: Context, params: Params, subject: Subject) -> list[Measurement]:
    """Call ``score`` of every metric in the manager and join their lists."""
    results: list[list[Measurement]] = manager.hook.score(ctx=ctx, params=params, subject=subject)
    measurements = [item for result in results for item in result]
    for item in measurements:
        if not isinstance(item, Measurement):
            raise PluginError(f"{_names(manager)} returned a {type(item).__name__} from score; expected Measurements")
    return measurements


def open_model(manager: pluggy.PluginManager, ctx: Context, params: Params, reference: str | None) -> Model:
    """Call ``open_model``."""
    return _first(manager, "open_model", Model, {"ctx": ctx, "params": params, "reference": reference})


def open_data(manager: pluggy.PluginManager, ctx: Context, params: Params, model: Model, reference: str | None) -> Data:
    """Call ``open_data``."""
    arguments = {"ctx": ctx, "params": params, "model": model, "reference": reference}
    return _first(manager, "open_data", Data, arguments)


def share_data(manager: pluggy.PluginManager, ctx: Context, params: Params, data: Data, share: float) -> Data:
    """Call ``share_data``."""
    return _first(manager, "share_data", Data, {"ctx": ctx, "params": params, "data": data, "share": share})


def make_inputs(manager: pluggy.PluginManager, ctx: Context, params: Params, model: Model, data: Data) -> Data:
    """Call ``make_inputs``."""
    return _first(manager, "make_inputs", Data, {"ctx": ctx, "params": params, "model": model, "data": data})


def mix_inputs(
    manager: pluggy.PluginManager, ctx: Context, params: Params, clean: Data, triggered: Data, order: list[int]
) -> Data:
    """Call ``mix_inputs``."""
    arguments = {"ctx": ctx, "params": params, "clean": clean, "triggered": triggered, "order": order}
    return _first(manager, "mix_inputs", Data, arguments)


def stage_started(manager: pluggy.PluginManager, ctx: Context, stage: str, cached: bool) -> None:
    """Tell every observer that a stage begins."""
    manager.hook.stage_started(ctx=ctx, stage=stage, cached=cached)


def stage_progress(
    manager: pluggy.PluginManager, ctx: Context, stage: str, label: str, done: int, total: int, loss: float | None
) -> None:
    """Tell every observer how far a stage is."""
    manager.hook.stage_progress(ctx=ctx, stage=stage, label=label, done=done, total=total, loss=loss)


def stage_finished(manager: pluggy.PluginManager, ctx: Context, stage: str, seconds: float, cached: bool) -> None:
    """Tell every observer that a stage has ended."""
    manager.hook.stage_finished(ctx=ctx, stage=stage, seconds=seconds, cached=cached)
