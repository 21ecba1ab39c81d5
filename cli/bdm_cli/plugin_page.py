"""What one plugin is: loaded, checked, and described for ``bdm plugins show`` and ``check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from bdm_core.discovery.candidates import Candidate
    from bdm_core.plugin import Params, Plugin

HOOKS_OF_KIND = {
    "attack": ("inject_backdoor",),
    "defense": ("detect", "purify_inputs", "repair"),
    "metric": ("score",),
    "kit": ("open_model", "open_data", "make_inputs", "select_rows", "generate"),
    "observer": ("stage_started", "stage_progress", "stage_finished"),
}
"""A plugin of a kind implements at least one of these."""


def describe(candidate: Candidate) -> dict[str, Any]:
    """Load a plugin, check it, and return what there is to know about it as JSON.

    Raises:
        PluginError: it cannot be loaded, implements no hook of its kind, has parameters without a description or a
            default, or a preset that its own parameters refuse.
    """
    from bdm_core import hooks
    from bdm_core.errors import PluginError, UserError
    from bdm_core.machine.foreign import asked
    from bdm_core.plugin import Defense
    from bdm_core.run.specification import build_params

    plugin: Plugin = candidate.load()
    found = [name for name in hooks.HOOKS if hooks.implements(plugin, name)]
    needed = HOOKS_OF_KIND.get(candidate.kind, ())
    control = isinstance(plugin, Defense) and not plugin.access  # it sees nothing and does nothing
    if needed and not set(found) & set(needed) and not control:
        raise PluginError(f"plugin {candidate.id} implements none of {', '.join(needed)}: mark them with @hookimpl")
    for name, field in plugin.Params.model_fields.items():
        if not field.description:
            raise PluginError(f"plugin {candidate.id}: parameter {name!r} has no description")
        if field.is_required():
            raise PluginError(f"plugin {candidate.id}: parameter {name!r} has no default")
    try:
        build_params(plugin, {})
        for preset in plugin.presets:
            build_params(plugin, {"preset": preset})
    except UserError as error:
        raise PluginError(f"plugin {candidate.id}: a default or a preset is refused: {error}") from None
    with asked(f"plugin {candidate.id}: its parameters cannot be described"):
        described = parameters(plugin.Params)
    return {
        "kind": candidate.kind,
        "name": candidate.name,
        "distribution": candidate.distribution,
        "version": candidate.version,
        "summary": plugin.summary,
        "tasks": sorted(plugin.tasks),
        "paper": plugin.paper,
        "level": plugin.level if isinstance(plugin, Defense) and "detect" in found else None,
        "access": sorted(plugin.access) if isinstance(plugin, Defense) else [],
        "hooks": found,
        "parameters": described,
        "presets": {name: dict(values) for name, values in plugin.presets.items()},
    }


def parameters(cls: type[Params]) -> list[dict[str, Any]]:
    """Name, type, default, range and description of each parameter; the stages in which it counts (empty for all), and
    whether a calibration file holds for one value of it.
    """
    schema = cls.model_json_schema()
    found = []
    for name, field in cls.model_fields.items():
        entry = schema["properties"][name]
        found.append(
            {
                "name": name,
                "type": _type(entry),
                "default": entry.get("default", field.get_default(call_default_factory=True, validated_data={})),
                "range": _range(entry),
                "description": field.description,
                "stages": list(cls.mark(name, "stages") or []),
                "calibrated": bool(cls.mark(name, "calibrated")),
            }
        )
    return found


def print_page(console: Console, page: dict[str, Any]) -> None:
    """Print what :func:`describe` returned."""
    console.print(Text.assemble((f"{page['kind']}:{page['name']}", "bold"), f"  {page['summary']}"))
    facts = {
        "package": f"{page['distribution']} {page['version']}",
        "tasks": ", ".join(page["tasks"]) or "any",
        "paper": page["paper"],
        "hooks": ", ".join(page["hooks"]),
        "judges": page["level"] or "",
        "access": ", ".join(page["access"]),
    }
    for name, value in facts.items():
        if value:
            console.print(Text(f"{name:<8} {value}"))
    console.print("\nparameters" if page["parameters"] else "no parameters")
    for item in page["parameters"]:
        stages = f"counts in {', '.join(item['stages'])}" if item["stages"] else ""
        calibrated = "calibrated" if item["calibrated"] else ""
        form = ", ".join(filter(None, (item["type"], item["range"], stages, calibrated)))
        console.print(Text.assemble("  ", (item["name"], "bold"), f" = {_default(item['default'])}  ({form})"))
        console.print(Padding(Text(item["description"]), (0, 0, 0, 6)))
    if page["parameters"]:
        console.print()
    for name, values in page["presets"].items():
        settings = ", ".join(f"{key}={value}" for key, value in values.items())
        console.print(Text(f"preset {name}: {settings}"))
    if page["parameters"]:
        console.print(Text(f"set with --set {page['kind']}:{page['name']}.PARAMETER=VALUE"), style="dim")


def _default(value: Any) -> str:
    return "none" if value is None else str(value)


def _type(entry: dict[str, Any]) -> str:
    if "enum" in entry:
        return " | ".join(map(str, entry["enum"]))
    if "const" in entry:
        return str(entry["const"])
    if "anyOf" in entry:
        return " | ".join(dict.fromkeys(_type(option) for option in entry["anyOf"]))
    kind = str(entry.get("type", "any"))
    if kind == "array" and isinstance(entry.get("items"), dict):
        return f"list of {_type(entry['items'])}"
    return {"null": "none", "string": "text"}.get(kind, kind)


def _range(entry: dict[str, Any]) -> str:
    options = [option for option in entry.get("anyOf", [entry]) if option.get("type") != "null"]
    parts = []
    for option in options:
        for key, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<")):
            if key in option:
                parts.append(f"{sign} {option[key]}")
        if "pattern" in option:
            parts.append(f"matches {option['pattern']}")
    return ", ".join(parts)
