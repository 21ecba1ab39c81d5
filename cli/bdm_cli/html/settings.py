"""The settings of the attack as it really used them: empty parameters say nothing, and are replaced or left out."""

from __future__ import annotations

from typing import Any

from bdm_cli.html.features import plain
from bdm_cli.html.markup import Html, tag
from bdm_cli.html.material import Material, mapping

STAGES = frozenset({"poison-data", "inject-backdoor", "trigger-inputs"})
"""The attack's stages; a hook keeps what it really used with ``ctx.figures(settings={...})``."""


def resolved(material: Material, plugin: str) -> dict[str, Any]:
    """The parameters of a plugin that say something, for the attack with what its stages recorded.

    Args:
        material: the run.
        plugin: ``kind:name``.
    """
    settings = mapping(mapping(mapping(material.record.get("plugins")).get(plugin)).get("params"))
    if plugin.startswith("attack:"):
        for entry in material.run.stages:
            if entry.get("stage") in STAGES:
                settings |= mapping(mapping(entry.get("figures")).get("settings"))
    return {name: value for name, value in settings.items() if not empty(value)}


def empty(value: Any) -> bool:
    """Whether a value says nothing: None, an empty text, list or object."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def section(material: Material) -> Html | None:
    """The attack's settings; None without an attack or without settings."""
    name = next((key for key in mapping(material.record.get("plugins")) if key.startswith("attack:")), None)
    settings = resolved(material, name) if name else {}
    if not settings:
        return None
    pairs = [tag("div", tag("dt", key), tag("dd", plain(value))) for key, value in settings.items()]
    return tag("div", tag("h3", "Settings of the attack"), tag("dl", pairs, class_="facts settings"))
