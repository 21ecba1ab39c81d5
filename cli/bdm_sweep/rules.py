"""The rules of a plan: excludes and overrides, which cells they hold for, and that each holds for some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bdm_core.discovery.candidates import named
from bdm_core.errors import UserError, nearest
from bdm_core.run.specification import ROLES, RunSpec, specify
from bdm_sweep.plan import SWEPT, Method, Plan, split_parameter


class Rules:
    """Applies the rules of a plan and remembers which ones held."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._unused = {("exclude", place) for place in range(len(plan.exclude))}
        self._unused |= {("overrides", place) for place in range(len(plan.overrides))}

    def exclude(self, spec: RunSpec) -> bool:
        """Whether the plan leaves a cell out."""
        found = [place for place, rule in enumerate(self._plan.exclude) if holds(rule, spec)]
        self._unused.difference_update(("exclude", place) for place in found)
        return bool(found)

    def override(self, options: dict[str, Any], used: set[str]) -> dict[str, Any]:
        """The options of a cell after all overrides.

        Args:
            options: fields of a specification.
            used: ``attack:NAME`` and ``defense:NAME`` of the cell; parameters of others are left out.

        Raises:
            UserError: the options are no specification.
        """
        for place, rule in enumerate(self._plan.overrides):
            if holds(rule.when, specify(options, "the plan")):
                self._unused.discard(("overrides", place))
                changes = dict(rule.set)
                params = {
                    key: value for key, value in mapping(changes.pop("params", None)).items() if counts(key, used)
                }
                options = {**options, **changes, "params": merge(merge({}, options["params"]), params)}
        return options

    def check_used(self) -> None:
        """Raise UserError if a rule held for no cell: it says something of a cell that the plan does not have."""
        for name, place in sorted(self._unused):
            rule = self._plan.exclude[place] if name == "exclude" else self._plan.overrides[place].when
            shown = ", ".join(f"{about}: {wanted!r}" for about, wanted in rule.items())
            given = " (of parameters it sees those that the plan sets)" if any(":" in about for about in rule) else ""
            raise UserError(f"the plan: {name}[{place}], when {{{shown}}}, holds for no cell{given}: mend or remove it")


def check_names(plan: Plan) -> None:
    """Check what a plan names, and that its rules and parameters speak of that.

    Raises:
        PluginError: an attack or a defense that is not installed.
        UserError: a rule or a parameter is about what the plan does not have.
    """
    attacks = [item.name for item in plan.attacks if item.name]
    defenses = [name for item in plan.defenses for name in names_of(item)]
    for kind, names in (("attack", attacks), ("defense", defenses)):
        for name in names:
            named(kind, name)
    lists = {"attack": attacks, "defense": defenses, **dict.fromkeys(ROLES, defenses)}
    lists |= {"model": plan.models, "data": plan.data}
    for rule in [*plan.exclude, *(item.when for item in plan.overrides)]:
        for about, wanted in rule.items():
            for value in wanted if isinstance(wanted, list) else [wanted]:
                known = lists.get(about)
                if known is not None and value is not None and value not in known:
                    hint = nearest(str(value), known, f"it has {', '.join(known) or 'none'}")
                    raise UserError(f"a rule asks for {about} {value!r}, which the plan does not have; {hint}")
    keys = {f"attack:{name}" for name in attacks} | {f"defense:{name}" for name in defenses}
    for parameter in plan.parameters:
        _check_key(split_parameter(parameter)[0], keys, f"parameter {parameter}")
    options = [plan.options, *(item.options for item in [*plan.attacks, *plan.defenses])]
    for changes in [*options, *(item.set for item in plan.overrides)]:
        for key in mapping(changes.get("params")):
            _check_key(key, keys, f"params of {key}")


def _check_key(key: str, keys: set[str], what: str) -> None:
    if key.startswith(("attack:", "defense:")) and key not in keys:
        hint = nearest(key, keys, f"it has {', '.join(sorted(keys))}")
        raise UserError(f"{what}: no cell of the plan has {key}; {hint}")


def names_of(item: Method) -> list[str]:
    """The plugins that an item of a plan names."""
    return [name for name in (item.name, item.detect, item.purify, item.repair) if name]


def counts(key: str, used: set[str]) -> bool:
    """Whether parameters of a plugin count for a cell that uses these attacks and defenses."""
    return key in used or not key.startswith(("attack:", "defense:"))


def mapping(params: Any) -> dict[str, dict[str, Any]]:
    """Parameters by plugin, as a plan gives them. Raises UserError for another form."""
    params = {} if params is None else params
    if not isinstance(params, Mapping) or not all(isinstance(value, Mapping) for value in params.values()):
        raise UserError("the plan: params: write a mapping, e.g. 'params: {attack:villan: {poison_rate: 0.2}}'")
    return {str(key): {str(name): item for name, item in values.items()} for key, values in params.items()}


def merge(into: dict[str, Any], more: Any) -> dict[str, Any]:
    """Add parameters by plugin to others. Raises UserError as :func:`mapping` does."""
    for key, values in mapping(more).items():
        into[key] = {**into.get(key, {}), **values}
    return into


def holds(rule: Mapping[str, Any], spec: RunSpec) -> bool:
    """Whether all that a rule says holds for a cell."""
    for about, wanted in rule.items():
        if about in SWEPT:
            value = spec.detectors[0] if about == "defense" and spec.detectors else getattr(spec, about)
        else:
            key, parameter = split_parameter(about)
            value = spec.params.get(key, {}).get(parameter)
        if value not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True
