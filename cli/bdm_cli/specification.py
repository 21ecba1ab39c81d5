"""From a YAML file, options and ``--set`` items to the specification of a run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from bdm_core.errors import UserError
from bdm_core.machine.redaction import names_credential
from bdm_core.run.specification import RunSpec, specify

DEEPEST = 100
"""Brackets within brackets."""
LARGEST_FILE = 2**20
"""Bytes of a configuration file; a larger one is no list of options."""


def load_specification(path: Path | None, options: dict[str, Any], sets: Iterable[str]) -> RunSpec:
    """Merge a YAML file, command-line options and ``--set`` items; later ones win.

    Args:
        path: a YAML file with the fields of :class:`RunSpec`, or None.
        options: options given on the command line; None values are dropped.
        sets: items ``KIND:NAME.PARAMETER=VALUE`` with the value in YAML.

    Raises:
        UserError: the file cannot be read, a field is unknown or out of range, or an item has the wrong form.
    """
    merged = {} if path is None else read_mapping(path)
    given = {key: value for key, value in options.items() if value is not None}
    merged.update(given)
    params = _mappings(merged.get("params") or {})
    given_by: dict[tuple[str, str], str] = {}
    for item in sets:
        key, name, value = parse_set(item)
        if given_by.setdefault((key, name), item) is not item:
            raise UserError(f"--set {key}.{name} is given twice: {given_by[key, name]!r} and {item!r}")
        if isinstance(value, str) and names_credential(name):
            raise UserError(
                f"--set {key}.{name}: a credential on the command line is seen by others and kept in a history; "
                f"put it into an environment variable and name that one: --set {key}.{name}_env=VARIABLE"
            )
        params.setdefault(key, {})[name] = value
    merged["params"] = params
    return specify(merged, str(path or "command line"))


def read_mapping(path: Path, example: str = "attack: villan") -> dict[str, Any]:
    """The mapping that a YAML file holds; ``example`` is what the error of a file without one advises.

    Raises:
        UserError: it cannot be read, is larger than 1 MiB, uses aliases (they can stand for billions of values), or
            holds something else.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is no plain file: name a YAML file")
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"{path} is larger than {LARGEST_FILE // 2**10} KiB: a configuration is a short file")
        text = path.read_text(encoding="utf-8")
        if _depth(text) > DEEPEST:
            raise UserError(f"{path} is nested more than {DEEPEST} deep: a configuration is flat")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise UserError(f"{path} uses YAML aliases: write the values out")
        refuse_repeated_keys(yaml.compose(text, yaml.SafeLoader), path)
        loaded = yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path} holds no mapping of options: write e.g. '{example}'")
    return {str(key): value for key, value in loaded.items()}


def refuse_repeated_keys(node: yaml.Node | None, path: Path) -> None:
    """Raises UserError if a mapping of a YAML document has a key twice, of which the last one would silently win."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            refuse_repeated_keys(item, path)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen if isinstance(key, yaml.ScalarNode) else False:
                raise UserError(f"{path}, line {key.start_mark.line + 1}: {key.value!r} stands there twice")
            seen.add(str(key.value))
            refuse_repeated_keys(value, path)


def _mappings(params: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(params, dict):
        raise UserError("run option params: write a mapping, e.g. 'params: {attack:villan: {poison_rate: 0.2}}'")
    for key, value in params.items():
        if not isinstance(value, dict | None):
            raise UserError(f"run option params.{key}: write a mapping of parameters, e.g. '{{poison_rate: 0.2}}'")
    return {str(key): {str(name): item for name, item in (value or {}).items()} for key, value in params.items()}


def _depth(text: str) -> int:
    """How deep brackets are nested in a text: YAML takes a time that grows with its square."""
    depth = deepest = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest


def parse_set(item: str) -> tuple[str, str, Any]:
    """Split ``KIND:NAME.PARAMETER=VALUE`` into key, parameter and the value read as YAML.

    Raises:
        UserError: the item has another form, or uses aliases (one may contain itself).
    """
    left, equals, text = item.partition("=")
    key, dot, name = left.strip().rpartition(".")
    if not (equals and dot and name and ":" in key):
        raise UserError(f"--set {item!r}: write KIND:NAME.PARAMETER=VALUE, e.g. --set attack:villan.poison_rate=0.2")
    if _depth(text) > DEEPEST:
        return key, name, text
    try:
        kinds = {type(token) for token in yaml.scan(text)}
        if {yaml.AnchorToken, yaml.AliasToken} <= kinds:
            raise UserError(
                f"--set {key}.{name} uses a YAML alias: write the value out, or put text into quotation marks"
            )
        value = text if yaml.AnchorToken in kinds else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that does not exist
        return key, name, text
    return key, name, text if isinstance(value, date | bytes | set) else value
