"""A plan: lists of attacks, defenses, models, data, parameters and seeds, with what to leave out and what to change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bdm_core.errors import UserError, nearest
from bdm_core.run.specification import RunSpec, is_name
from bdm_sweep.seeds import MOST_CELLS, listed, seeds_of

SWEPT = ("attack", "defense", "detect", "purify", "repair", "model", "data", "seed")
"""What the lists of a plan set, and rules may ask for."""
SHARED = sorted(set(RunSpec.model_fields) - set(SWEPT) - {"detectors"})
"""Options of a run that all cells of a plan may share."""


class Method(BaseModel):
    """An attack or a defense of a plan.

    Attributes:
        name: the plugin's name; for a defense also ``detect``, ``purify`` and ``repair`` may name one for a role.
        params: parameters of the plugin that has the ``name``.
        options: options of its cells, which replace the plan's; ``model`` and ``data`` among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = None
    detect: str | None = None
    purify: str | None = None
    repair: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _own(cls, options: dict[str, Any]) -> dict[str, Any]:
        return _known(options, [*SHARED, "model", "data"], "option of an attack or a defense")


class Override(BaseModel):
    """Options for some cells: where every item of ``when`` holds, ``set`` replaces the options of the same name.

    Attributes:
        when: ``attack``, ``defense``, ``model``, ``data``, ``seed``, or ``KIND:NAME.PARAMETER``, each with a value or a
            list of values.
        set: options of a run, ``params`` merged by plugin and parameter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: dict[str, Any]
    set: dict[str, Any]


class Plan(BaseModel):
    """What a sweep runs.

    Attributes:
        attacks: names, or mappings as :class:`Method`.
        scan: no attacks: every model is judged by every defense, as ``bdm scan`` does.
        defenses: likewise; empty: every attack without a defense.
        models: references of models; empty: the kit's default.
        data: references of data sets; empty: the kit's default.
        seeds: whole numbers and ranges such as ``0-4``.
        parameters: ``KIND:NAME.PARAMETER`` -> values. A cell without that attack or defense does not multiply.
        combine: ``grid`` for every combination of the parameters' values, ``zip`` for the first ones together, ...
        options: what all cells share: ``task``, ``kit``, ``metrics``, ``params``, ``device``, ``data_share``, ...
        exclude: cells to leave out; a mapping like an override's ``when``.
        overrides: options for some cells, applied in order; each holds for some cell.

    >>> plan = Plan(attacks=["villan"], defenses=["elijah", "terd"], seeds="0-2")
    >>> plan.seeds, plan.defenses[1].name
    ([0, 1, 2], 'terd')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attacks: list[Method] = Field(default_factory=list)
    scan: bool = False
    defenses: list[Method] = Field(default_factory=list)
    models: list[str] = Field(default_factory=list)
    data: list[str] = Field(default_factory=list)
    seeds: list[int] = Field(default=[0], min_length=1)
    parameters: dict[str, list[Any]] = Field(default_factory=dict)
    combine: Literal["grid", "zip"] = "grid"
    options: dict[str, Any] = Field(default_factory=dict)
    exclude: list[dict[str, Any]] = Field(default_factory=list)
    overrides: list[Override] = Field(default_factory=list)

    @field_validator("attacks", "defenses", mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        return [{"name": item} if isinstance(item, str) else item for item in listed(given)]

    @field_validator("attacks")
    @classmethod
    def _attacks_have_names(cls, attacks: list[Method]) -> list[Method]:
        for item in attacks:
            if item.name is None or item.detect or item.purify or item.repair:
                raise ValueError("an attack has a name, and perhaps params")
        return attacks

    @field_validator("defenses")
    @classmethod
    def _defenses_have_names(cls, defenses: list[Method]) -> list[Method]:
        for item in defenses:
            if not (item.name or item.detect or item.purify or item.repair):
                raise ValueError("a defense has a name, or names for detect, purify or repair")
            if item.params and item.name is None:
                raise ValueError("params belong to the name; for roles use options.params or parameters")
        return defenses

    @field_validator("models", "data", mode="before")
    @classmethod
    def _references(cls, given: Any) -> Any:
        return listed(given)

    @field_validator("seeds", mode="before")
    @classmethod
    def _ranges(cls, given: Any) -> Any:
        return seeds_of(given)

    @field_validator("parameters")
    @classmethod
    def _values(cls, parameters: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name, values in parameters.items():
            split_parameter(name)
            if not values:
                raise ValueError(f"{name} has no values: an empty grid has no cells")
        return parameters

    @field_validator("options")
    @classmethod
    def _shared(cls, options: dict[str, Any]) -> dict[str, Any]:
        return _known(options, SHARED, "option of a plan")

    @field_validator("exclude")
    @classmethod
    def _rules(cls, exclude: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for rule in exclude:
            _check_rule(rule)
        return exclude

    @field_validator("overrides")
    @classmethod
    def _override_rules(cls, overrides: list[Override]) -> list[Override]:
        for item in overrides:
            _check_rule(item.when)
            _known(item.set, SHARED, "option of an override")
        return overrides

    def combinations(self) -> int:
        """How many combinations the lists have, before any is left out."""
        lengths = [len(values) for values in self.parameters.values()] or [1]
        parameters = max(lengths) if self.combine == "zip" else math.prod(lengths)
        lists: list[list[Any]] = [self.attacks, self.defenses, self.models, self.data, self.seeds]
        return parameters * math.prod(len(items) or 1 for items in lists)


def plan_of(given: Mapping[str, Any], source: str = "the plan") -> Plan:
    """Check a plan.

    Raises:
        UserError: a field is unknown (with the nearest one as a suggestion) or has a wrong type, a list is empty, or
            there are more than :data:`MOST_CELLS` combinations.
    """
    _check_depth(given, source)
    try:
        plan = Plan.model_validate(dict(given))
    except ValidationError as error:
        errors = error.errors(include_url=False)  # a name that does not exist explains one that is missing
        first = min(errors, key=lambda item: item["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = sorted(Plan.model_fields if len(first["loc"]) == 1 else Method.model_fields)
            hint = nearest(str(first["loc"][-1]), known, f"there are {', '.join(known)}")
            raise UserError(f"{source}: nothing is called {where!r} in a plan; {hint}") from None
        got = f" (got {_short(first['input'])})" if first["type"] != "value_error" else ""
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{source}: {where or 'plan'}: {message}{got}") from None
    _check_scan(plan, source)
    if plan.combine == "zip" and len({len(values) for values in plan.parameters.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(values)}" for name, values in plan.parameters.items())
        raise UserError(f"{source}: zip needs as many values of every parameter: {lengths}")
    if plan.combinations() > MOST_CELLS:
        raise UserError(f"{source}: {plan.combinations():,} cells are too many; a plan has at most {MOST_CELLS:,}")
    return plan


def _check_scan(plan: Plan, source: str) -> None:
    if not plan.scan and not plan.attacks:
        raise UserError(f"{source}: attacks: name at least one (bdm plugins list attack), or say scan: true")
    if plan.scan and (plan.attacks or not plan.models or not all(item.name for item in plan.defenses)):
        raise UserError(f"{source}: a scan has models and defenses with names, and no attacks")
    if plan.scan and not plan.defenses:
        raise UserError(f"{source}: defenses: name the detectors of the scan (bdm plugins list defense)")


def read_plan(path: Path) -> Plan:
    """The plan in a YAML file. Raises UserError as :func:`read_fields` and :func:`plan_of` do."""
    return plan_of(read_fields(path), str(path))


def read_fields(path: Path) -> dict[str, Any]:
    """The fields of a plan in a YAML file; ``extends: OTHER.yaml`` takes those that it lacks from another plan.

    Raises:
        UserError: a file cannot be read, or plans extend each other in a circle.
    """
    return _merged(path, [])


def _merged(path: Path, before: list[Path]) -> dict[str, Any]:
    from bdm_cli.specification import read_mapping

    if path.resolve() in before:
        circle = " -> ".join(item.name for item in [*before, path])
        raise UserError(f"{path}: plans extend each other in a circle: {circle}")
    given = read_mapping(path, "attacks: [villan]")
    base = given.pop("extends", None)
    if base is None:
        return given
    if not isinstance(base, str) or not is_name(base):
        raise UserError(f"{path}: extends: give the path of another plan (got {_short(base)})")
    return {**_merged(path.parent / base, [*before, path.resolve()]), **given}


def split_parameter(name: str) -> tuple[str, str]:
    """``KIND:NAME.PARAMETER`` as plugin and parameter. Raises ValueError for another form."""
    key, dot, parameter = name.rpartition(".")
    kind, colon, plugin = key.partition(":")
    if not (dot and colon and kind and plugin and parameter):
        raise ValueError(f"parameters are called KIND:NAME.PARAMETER, e.g. attack:villan.poison_rate, not {name!r}")
    return key, parameter


def _check_rule(rule: Mapping[str, Any]) -> None:
    if not rule:
        raise ValueError("an empty rule holds for every cell: name an attack, a defense, ...")
    _known({name: None for name in rule if ":" not in name}, SWEPT, "rule")
    for name in rule:
        if ":" in name:
            split_parameter(name)


def _known(given: dict[str, Any], known: Any, what: str) -> dict[str, Any]:
    for name in given:
        if name not in known:
            hint = nearest(name, known, f"there are {', '.join(known)}")
            raise ValueError(f"no {what} {name!r}; {hint}")
    return given


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _check_depth(value: Any, source: str, above: tuple[int, ...] = ()) -> None:
    """Raise UserError for a plan made in Python that contains itself."""
    if id(value) in above:
        raise UserError(f"{source}: it contains itself")
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for item in items:
        _check_depth(item, source, (*above, id(value)))
