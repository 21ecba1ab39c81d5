"""From a plan to its cells: one run each, prepared and checked; pairs that cannot be, with the reason."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bdm_core.discovery.candidates import Candidate, named
from bdm_core.discovery.tasks import built_in
from bdm_core.errors import PluginError, UserError, nearest
from bdm_core.files import canonical_json, existing
from bdm_core.run.preparation import Prepared, prepare
from bdm_core.run.specification import ROLES, RunSpec, specify
from bdm_sweep.plan import SWEPT, Method, Plan, split_parameter

TINY = "tiny"
"""Every kit has a model of this name for tests, listed or not."""
OPTIONAL = ("attack", "defense", *ROLES)


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        spec: what it runs.
        name: the name of its run folder: plugins, seed and a digest of the specification.
    """

    spec: RunSpec

    @property
    def defense(self) -> str:
        """What its defense is called in tables."""
        roles = [name for name in (getattr(self.spec, role) for role in ROLES) if name]
        return self.spec.defense or "+".join(dict.fromkeys([*roles, *(self.spec.detectors or [])])) or "-"

    @property
    def name(self) -> str:
        facts = canonical_json(self.spec.model_dump(mode="json"))
        digest = hashlib.sha256(facts.encode()).hexdigest()[:10]
        words = re.sub(r"[^\w.-]", "-", f"{self.spec.attack or 'scan'}_{self.defense.replace('+', '_')}")
        return f"sweep_{words[:120]}_s{self.spec.seed}_{digest}"


@dataclass
class Cells:
    """The cells of a plan.

    Attributes:
        possible: the cells to run, in the plan's order.
        impossible: cells that cannot be, each with the reason.
        excluded: how many the plan leaves out.
    """

    possible: list[Cell] = field(default_factory=list)
    impossible: list[tuple[Cell, str]] = field(default_factory=list)
    excluded: int = 0


class Preparation:
    """Prepares cells; those that differ in the seed alone are prepared once.

    Args:
        here: whether stages run on this machine; else a device that only other machines have is taken as it is named.
    """

    def __init__(self, *, here: bool = True) -> None:
        self._here = here
        self._loads: dict[str, Any] = {}
        self._made: dict[str, Prepared | PluginError] = {}
        self._models: list[tuple[str, str]] = []

    def __call__(self, spec: RunSpec) -> Prepared:
        """The prepared cell. Raises as :func:`bdm_core.run.preparation.prepare` does."""
        key = canonical_json(spec.model_dump(mode="json", exclude={"seed"}))
        if key not in self._made:
            if len(self._made) > 5000:
                self._made.clear()
            self._made[key] = self._prepared(spec)
        found = self._made[key]
        if isinstance(found, PluginError):
            raise found
        return replace(found, spec=found.spec.model_copy(update={"seed": spec.seed}))

    def _prepared(self, spec: RunSpec) -> Prepared | PluginError:
        elsewhere = not self._here and spec.device != "auto"
        try:
            found = prepare(spec.model_copy(update={"device": "cpu"}) if elsewhere else spec, self._loads)
        except PluginError as error:
            return error
        return self._objection(found) or (replace(found, spec=spec, device=spec.device) if elsewhere else found)

    def _objection(self, found: Prepared) -> PluginError | None:
        """Why the model is none of the task. Raises UserError for a name, no path and no hf: reference, of no kit."""
        name = found.spec.model
        if name is None or ":" in name or "/" in name or existing(name) is not None:
            return None
        if not self._models:
            self._models = [(item["name"], item["task"]) for item in built_in("models")]
        known = [model for model, task in self._models if task == found.task]
        if name in known or name == TINY:
            return None
        hint = nearest(name, known, f"built in are {', '.join(known) or 'none'}")
        others = [task for model, task in self._models if model == name]
        if others:
            return PluginError(f"model {name!r} is for task {others[0]}, not for {found.task}; {hint}")
        raise UserError(f"no model {name!r} for task {found.task}; {hint} (bdm models), or write a folder as ./{name}")


def cells_of(plan: Plan, preparation: Preparation) -> Cells:
    """The cells of a plan.

    Raises:
        PluginError: a name that no installed plugin has, with the nearest as a suggestion; no pair is possible.
        UserError: a parameter or an option is unknown or out of range.
    """
    _check_names(plan)
    found = Cells()
    seen: set[str] = set()
    for spec in _specifications(plan):
        if any(_holds(rule, spec) for rule in plan.exclude):
            found.excluded += 1
            continue
        cell = Cell(spec)
        if cell.name in seen:
            continue
        seen.add(cell.name)
        reason = _impossible(spec, preparation)
        if reason:
            found.impossible.append((cell, reason))
        else:
            found.possible.append(cell)
    if not found.possible:
        if found.impossible:
            raise PluginError(f"no cell of the plan is possible; the first: {found.impossible[0][1]}")
        raise UserError("the plan has no cells: its excludes leave nothing")
    return found


def joined(parts: list[Cells]) -> Cells:
    """The cells of several plans, each once."""
    possible = {cell.name: cell for part in parts for cell in part.possible}
    impossible = {cell.name: (cell, reason) for part in parts for cell, reason in part.impossible}
    return Cells(list(possible.values()), list(impossible.values()), sum(part.excluded for part in parts))


def _check_names(plan: Plan) -> None:
    attacks = [item.name for item in plan.attacks if item.name]
    defenses = [name for item in plan.defenses for name in _names(item)]
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
        key = split_parameter(parameter)[0]
        if key.startswith(("attack:", "defense:")) and key not in keys:
            hint = nearest(key, keys, f"it has {', '.join(sorted(keys))}")
            raise UserError(f"parameter {parameter}: no cell of the plan has {key}; {hint}")


def _names(item: Method) -> list[str]:
    return [name for name in (item.name, item.detect, item.purify, item.repair) if name]


def _specifications(plan: Plan) -> Iterator[RunSpec]:
    values = list(plan.parameters.values())
    rows = list(zip(*values, strict=True) if plan.combine == "zip" and values else itertools.product(*values))
    lists: list[list[Any]] = [
        plan.attacks or [Method()],
        plan.defenses or [Method()],
        plan.models or [None],
        plan.data or [None],
    ]
    for attack, defense, model, data in itertools.product(*lists):
        used = {f"attack:{attack.name}", *(f"defense:{name}" for name in _names(defense))}
        for row in rows:
            params: dict[str, Any] = {}
            for source in (plan, attack, defense):
                _merge(params, source.options.get("params") or {})
            params = {key: value for key, value in params.items() if _counts(key, used)}
            _merge(params, {f"attack:{attack.name}": attack.params} if attack.params else {})
            _merge(params, {f"defense:{defense.name}": defense.params} if defense.params else {})
            for name, value in zip(plan.parameters, row, strict=True):
                key, parameter = split_parameter(name)
                if _counts(key, used):
                    _merge(params, {key: {parameter: value}})
            roles = {role: getattr(defense, role) for role in ROLES}
            options = {"model": model, "data": data, **plan.options, **attack.options, **defense.options}
            options |= {"attack": attack.name, "defense": defense.name, **roles, "params": params}
            if plan.scan:
                options |= {"defense": None, "detectors": [defense.name]}
            for seed in plan.seeds:
                spec = specify(_overridden(plan, {**options, "seed": seed}, used), "the plan")
                if spec.device.startswith("cuda:"):
                    raise UserError(f"the plan: device {spec.device}: write cuda; the executor chooses which GPU")
                yield spec


def _overridden(plan: Plan, options: dict[str, Any], used: set[str]) -> dict[str, Any]:
    for rule in plan.overrides:
        if _holds(rule.when, specify(options, "the plan")):
            changes = dict(rule.set)
            params = {key: value for key, value in (changes.pop("params", None) or {}).items() if _counts(key, used)}
            options = {**options, **changes, "params": _merge(_merge({}, options["params"]), params)}
    return options


def _counts(key: str, used: set[str]) -> bool:
    return key in used or not key.startswith(("attack:", "defense:"))


def _merge(into: dict[str, Any], more: Any) -> dict[str, Any]:
    if not isinstance(more, Mapping) or not all(isinstance(value, Mapping) for value in more.values()):
        raise UserError("the plan: params: write a mapping, e.g. 'params: {attack:villan: {poison_rate: 0.2}}'")
    for key, values in more.items():
        into[str(key)] = {**into.get(str(key), {}), **values}
    return into


def _holds(rule: Mapping[str, Any], spec: RunSpec) -> bool:
    for about, wanted in rule.items():
        if about in SWEPT:
            value = getattr(spec, about)
        else:
            key, parameter = split_parameter(about)
            value = spec.params.get(key, {}).get(parameter)
        if value not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def _impossible(spec: RunSpec, preparation: Preparation) -> str:
    """Why an attack and a defense do not go together; "" if they do. Raises UserError for what is wrong anyway."""
    names = {("attack" if role == "attack" else "defense", getattr(spec, role)) for role in OPTIONAL}
    names |= {("defense", name) for name in spec.detectors or []}
    tasks = {f"{kind}:{name}": _tasks(named(kind, name)) for kind, name in sorted(names, key=str) if name}
    limited = [item for item in tasks.values() if item is not None]
    if limited and not frozenset.intersection(*limited):
        served = "; ".join(f"{name}: {', '.join(sorted(item))}" for name, item in tasks.items() if item is not None)
        return f"no common task ({served})"
    try:
        preparation(spec)
    except PluginError as error:
        return str(error)
    return ""


def _tasks(candidates: list[Candidate]) -> frozenset[str] | None:
    """The tasks that plugins of one name work for; None for every task."""
    if any(not item.tasks for item in candidates):
        return None
    return frozenset(task for item in candidates for task in item.tasks)
