"""What a run is asked to do: a file and ``--set`` options, merged and checked, and the seeds that follow from it."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bdm_core.errors import UserError
from bdm_core.files import all_finite
from bdm_core.machine.redaction import names_credential
from bdm_core.plugin import KINDS, Params, Plugin, identifier


class RunSpec(BaseModel):
    """One cell: an attack, a defense, a model, data and a seed.

    Attributes:
        attack: name of the attack; None for a scan.
        detect: name of the defense that detects; ``--defense X`` sets both this and ``repair``.
        repair: name of the defense that repairs.
        task: task tag; None lets the plugins decide.
        kit: name of the task's kit; None for the only one that is installed.
        model: built-in name, local folder or ``hf:org/name@commit``; None for the kit's built-in model.
        data: likewise for the data set.
        metrics: names of metrics; None for the kit's usual ones.
        observers: names of observers.
        params: ``kind:name`` -> parameters; the key ``preset`` chooses one of the plugin's presets first.
        seed: the run's seed, 0 to 2**31 - 1.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        data_share: share of the clean data that the defender is allowed, in (0, 1].
        triggered_share: share of the evaluation inputs that also get the trigger, in (0, 1]; None for the kit's own.
        scan_clean: also let the detector judge the clean model (a control, at the price of one more detection).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attack: str | None = None
    detect: str | None = None
    repair: str | None = None
    task: str | None = None
    kit: str | None = None
    model: str | None = None
    data: str | None = None
    metrics: list[str] | None = None
    observers: list[str] = Field(default_factory=list)
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**31)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    data_share: float = Field(default=0.1, gt=0, le=1)
    triggered_share: float | None = Field(default=None, gt=0, le=1)
    scan_clean: bool = False

    @field_validator("params")
    @classmethod
    def _keys_have_a_kind(cls, params: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for key, values in params.items():
            kind, _, name = key.partition(":")
            if kind not in KINDS or not name:
                raise ValueError(f"parameters are keyed KIND:NAME (e.g. attack:villan), not {key!r}")
            if not all_finite(values):
                raise ValueError(f"the parameters of {key} hold a number that is not finite")
        return params


def load_spec(path: Path | None, options: dict[str, Any], sets: Iterable[str]) -> RunSpec:
    """Merge a YAML file, command-line options and ``--set`` items; later ones win.

    Args:
        path: a YAML file with the fields of :class:`RunSpec`, or None. ``defense`` may stand for detect and repair.
        options: options given on the command line; None values are dropped.
        sets: items ``KIND:NAME.PARAMETER=VALUE`` with the value in YAML.

    Raises:
        UserError: the file cannot be read, a field is unknown or out of range, or an item has the wrong form.
    """
    merged: dict[str, Any] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"cannot read {path}: {' '.join(str(error).split())}") from None
        if not isinstance(loaded, dict):
            raise UserError(f"{path} holds no mapping of options: write e.g. 'attack: villan'")
        merged.update(loaded)
    given = {key: value for key, value in options.items() if value is not None}
    for source in (merged, given):
        both = source.pop("defense", None)
        if both is not None:
            source.setdefault("detect", both)
            source.setdefault("repair", both)
    merged.update(given)
    params = _mappings(merged.get("params") or {})
    for item in sets:
        key, name, value = parse_set(item)
        if isinstance(value, str) and names_credential(name):
            raise UserError(
                f"--set {key}.{name}: a credential on the command line is seen by others and kept in a history; "
                f"put it into an environment variable and name that one: --set {key}.{name}_env=VARIABLE"
            )
        params.setdefault(key, {})[name] = value
    merged["params"] = params
    try:
        return RunSpec.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = sorted([*RunSpec.model_fields, "defense"])
            near = difflib.get_close_matches(where, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise UserError(f"{path}: no run option {where!r}; {hint}") from None
        raise UserError(f"run option {where or 'params'}: {first['msg']} (got {first['input']!r})") from None


def _mappings(params: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(params, dict):
        raise UserError("run option params: write a mapping, e.g. 'params: {attack:villan: {poison_rate: 0.2}}'")
    for key, value in params.items():
        if not isinstance(value, dict | None):
            raise UserError(f"run option params.{key}: write a mapping of parameters, e.g. '{{poison_rate: 0.2}}'")
    return {str(key): {str(name): item for name, item in (value or {}).items()} for key, value in params.items()}


def parse_set(item: str) -> tuple[str, str, Any]:
    """Split ``KIND:NAME.PARAMETER=VALUE`` into key, parameter and the value read as YAML.

    Raises:
        UserError: the item has another form.
    """
    left, equals, text = item.partition("=")
    key, dot, name = left.strip().rpartition(".")
    if not (equals and dot and name and ":" in key):
        raise UserError(f"--set {item!r}: write KIND:NAME.PARAMETER=VALUE, e.g. --set attack:villan.poison_rate=0.2")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that does not exist
        return key, name, text
    return key, name, text if isinstance(value, date | bytes | set) else value


def build_params(plugin: Plugin, given: dict[str, Any], suggested: dict[str, Any] | None = None) -> Params:
    """The checked parameters of a plugin: suggestions, then its preset if one is named, then what was given.

    Raises:
        UserError: an unknown or out-of-range parameter; the message has the parameter's description.
    """
    label = identifier(plugin)
    given = dict(given)
    values = dict(suggested or {})
    preset = given.pop("preset", None)
    if preset is not None:
        if not isinstance(preset, str) or preset not in plugin.presets:
            known = ", ".join(plugin.presets) or "none"
            raise UserError(f"{label} has no preset {preset!r}; it has {known}")
        values.update(plugin.presets[preset])
    values.update(given)
    fields = plugin.Params.model_fields
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(name, list(fields), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(fields) or 'no parameters'}"
            raise UserError(f"{label} has no parameter {name!r}; {hint} (bdm plugins show {plugin.name})")
    try:
        return plugin.Params(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        about = f" ({name}: {fields[name].description})" if name in fields else ""
        where = f"{label}.{'.'.join(str(part) for part in first['loc'])}" if first["loc"] else label
        got = f", got {first['input']!r}" if name in fields else ""
        raise UserError(f"{where}: {first['msg']}{got}{about}") from None


def stage_seed(run_seed: int, stage: str, plugin_id: str) -> int:
    """The seed of one plugin in one stage: 63 bits of SHA-256, so that no other choice in the run changes it."""
    text = f"{run_seed}/{stage}/{plugin_id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
