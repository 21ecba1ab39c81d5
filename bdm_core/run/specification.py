"""What a run is asked to do, checked; and the parameters and seeds that follow from it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bdm_core.errors import PluginError, UserError, nearest
from bdm_core.files import all_finite
from bdm_core.machine.foreign import described, foreign_code
from bdm_core.machine.redaction import without_credentials
from bdm_core.plugin import KINDS, Params, Plugin, identifier

ROLES = {"detect": "detect", "purify": "purify_inputs", "repair": "repair"}
"""What a defense can be named for, with the hook that does it."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Characters that no name and no reference has."""
NAMES = ("attack", "defense", *ROLES, "task", "kit", "model", "data", "training_data", "detectors", "metrics")
"""Options that are names or references, or lists of them."""


class RunSpec(BaseModel):
    """One cell: an attack, a defense, a model, data and a seed.

    Attributes:
        attack: name of the attack; None for a scan.
        defense: name of the defense for every role below that names none, as far as it can.
        detect: name of the defense that detects.
        purify: name of the defense that purifies the inputs of the backdoored model.
        repair: name of the defense that repairs.
        task: task tag; None lets the plugins and the model decide.
        kit: name of the task's kit; None for the only one that is installed.
        model: built-in name, local folder or ``hf:org/name@commit``; None for the kit's built-in model.
        data: likewise for the data set.
        detectors: for a scan, the defenses that judge the model; None for all that work for its task.
        training_data: for a scan, the data that the model was trained on, for detectors that judge it.
        metrics: names of metrics; None for the kit's usual ones.
        observers: names of observers.
        params: ``kind:name`` -> parameters; the key ``preset`` chooses one of the plugin's presets first.
        seed: the run's seed, 0 to 2**31 - 1.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        data_share: share of the clean data that the defender is allowed, in (0, 1].
        triggered_share: share of the evaluation inputs that also get the trigger, in (0, 1]; None for the kit's own.
        scan_clean: also let the detector judge the clean model (a control, at the price of one more detection).
        repair_always: also repair a model that the detector calls clean; else that is left as it is.

    >>> spec = RunSpec(attack="villan", params={"attack:villan": {"poison_rate": 0.2}}, seed=1)
    >>> spec.task is None, spec.seed
    (True, 1)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attack: str | None = None
    defense: str | None = None
    detect: str | None = None
    purify: str | None = None
    repair: str | None = None
    task: str | None = None
    kit: str | None = None
    model: str | None = None
    data: str | None = None
    detectors: list[str] | None = None
    training_data: str | None = None
    metrics: list[str] | None = None
    observers: list[str] = Field(default_factory=list)
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**31)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d{1,4})?)$")
    data_share: float = Field(default=0.1, gt=0, le=1)
    triggered_share: float | None = Field(default=None, gt=0, le=1)
    scan_clean: bool = False
    repair_always: bool = False

    @field_validator(*NAMES, "observers")
    @classmethod
    def _names_can_be_read(cls, given: Any) -> Any:
        if not all(text is None or is_name(text) for text in (given if isinstance(given, list) else [given])):
            raise ValueError("a name or reference is a text without control characters")
        return given

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


def is_name(text: str) -> bool:
    """Whether a text can be a name, a path or another reference: it is not empty and has no control characters."""
    return bool(text.strip()) and not CONTROL.search(text)


def specify(options: Mapping[str, Any], source: str = "run options") -> RunSpec:
    """Check options.

    Args:
        options: fields of :class:`RunSpec`.
        source: where they come from, for messages.

    Raises:
        UserError: a field is unknown (with the nearest one as a suggestion) or out of range.
    """
    try:
        return RunSpec.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = sorted(RunSpec.model_fields)
            hint = nearest(where, known, f"there are {', '.join(known)}")
            raise UserError(f"{source}: no run option {where!r}; {hint}") from None
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"run option {where or 'params'}: {reason} (got {_short(first['input'])})") from None


def build_params(plugin: Plugin, given: Mapping[str, Any], suggested: Mapping[str, Any] | None = None) -> Params:
    """The checked parameters of a plugin: suggestions, then its preset if one is named, then what was given.

    Raises:
        UserError: an unknown or out-of-range parameter; the message has the parameter's description.
        PluginError: checking the parameters failed in the plugin.
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
            hint = nearest(str(name), fields, f"it has {', '.join(fields) or 'no parameters'}")
            raise UserError(f"{label} has no parameter {name!r}; {hint} (bdm plugins show {plugin.name})")
    try:
        with foreign_code():
            return plugin.Params(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        about = f" ({name}: {fields[name].description})" if name in fields else ""
        where = f"{label}.{'.'.join(str(part) for part in first['loc'])}" if first["loc"] else label
        got = f", got {_short(first['input'])}" if name in fields else ""
        raise UserError(f"{where}: {first['msg'].removeprefix('Value error, ')}{got}{about}") from None
    except Exception as error:  # a validator of the plugin's
        raise PluginError(f"{label} cannot check its parameters: {described(error)}") from error


def stage_seed(run_seed: int, stage: str, plugin_id: str) -> int:
    """The seed of one plugin in one stage: 63 bits of SHA-256, so that no other choice in the run changes it."""
    text = f"{run_seed}/{stage}/{plugin_id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _short(value: Any) -> str:
    text = repr(without_credentials(value))
    return text if len(text) <= 80 else f"{text[:77]}..."
