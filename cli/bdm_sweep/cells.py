"""From a plan to its cells: one run each, prepared and checked; pairs that cannot be, with the reason."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from bdm_core.discovery.candidates import Candidate, named
from bdm_core.discovery.tasks import built_in
from bdm_core.errors import PluginError, UserError, nearest
from bdm_core.files import canonical_json, existing
from bdm_core.run.preparation import Prepared, prepare
from bdm_core.run.specification import ROLES, RunSpec, specify
from bdm_results.setting import as_taken
from bdm_sweep.plan import Method, Plan, split_parameter
from bdm_sweep.rules import Rules, check_names, counts, merge, names_of

TINY = "tiny"
"""Every kit has a model of this name for tests, listed or not."""
MOST_KEPT = 5000
"""So many specifications are kept as they were prepared."""
OPTIONAL = ("attack", "defense", *ROLES)


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        spec: what it runs.
        name: the name of its run folder: plugins, seed and a digest of the specification.
        setting: what it does with all defaults filled in; two cells of one setting are one. "" if it cannot be.
    """

    spec: RunSpec
    setting: str = field(default="", compare=False)

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
        repeated: how many do the same as another cell, e.g. with a default written out.
    """

    possible: list[Cell] = field(default_factory=list)
    impossible: list[tuple[Cell, str]] = field(default_factory=list)
    excluded: int = 0
    repeated: int = 0
    _names: set[str] = field(default_factory=set)
    _settings: set[str] = field(default_factory=set)

    def add(self, cell: Cell, reason: str = "") -> None:
        """Take in a cell that is none of those that are here already; ``reason`` is why it cannot be."""
        known = self._names if reason else self._settings
        name = cell.name if reason else cell.setting
        if name in known:
            self.repeated += 1
            return
        known.add(name)
        if reason:
            self.impossible.append((cell, reason))
        else:
            self.possible.append(cell)


class Preparation:
    """Prepares cells; those that differ in the seed alone are prepared once.

    Args:
        here: whether stages run on this machine; else a device that only other machines have is taken as it is named.
    """

    def __init__(self, *, here: bool = True) -> None:
        self._here = here
        self._loads: dict[str, Any] = {}
        self._made: dict[str, Prepared | PluginError] = {}
        self._settings: dict[str, str] = {}
        self._models: list[tuple[str, str]] = []

    def __call__(self, spec: RunSpec) -> Prepared:
        """The prepared cell. Raises as :func:`bdm_core.run.preparation.prepare` does."""
        key = _key(spec)
        if key not in self._made:
            if len(self._made) > MOST_KEPT:
                self._made.clear()
            self._made[key] = self._prepared(spec)
        found = self._made[key]
        if isinstance(found, PluginError):
            raise found
        return replace(found, spec=found.spec.model_copy(update={"seed": spec.seed}))

    def setting(self, spec: RunSpec) -> str:
        """A name for what a cell does with all defaults filled in. Raises as :meth:`__call__` does."""
        key = _key(spec)
        if key not in self._settings:
            if len(self._settings) > MOST_KEPT:
                self._settings.clear()
            self._settings[key] = self._setting(self(spec))
        return f"{self._settings[key]} {spec.seed}"

    @staticmethod
    def _setting(found: Prepared) -> str:
        own = found.spec.model_dump(mode="json", exclude={*OPTIONAL, "seed", "kit", "params", "metrics", "observers"})
        roles = [item and item.id for item in (found.attack, found.detector, found.purifier, found.repairer)]
        params = {item.id: item.params.model_dump(mode="json") for item in found.all()}
        taken = as_taken(found.kit.plugin, found.task, own) | {"device": found.device.partition(":")[0]}
        facts = {**own, **taken, "task": found.task, "roles": roles, "params": params}
        facts["detectors"] = sorted(item.id for item in found.scanners)
        return hashlib.sha256(canonical_json(facts).encode()).hexdigest()

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


def _key(spec: RunSpec) -> str:
    return canonical_json(spec.model_dump(mode="json", exclude={"seed"}))


def cells_of(plan: Plan, preparation: Preparation) -> Cells:
    """The cells of a plan.

    Raises:
        PluginError: a name that no installed plugin has, with the nearest as a suggestion; no pair is possible.
        UserError: a parameter or an option is unknown or out of range.
    """
    check_names(plan)
    found = Cells()
    rules = Rules(plan)
    for spec in _specifications(plan, rules):
        if rules.exclude(spec):
            found.excluded += 1
            continue
        reason = _impossible(spec, preparation)
        found.add(Cell(spec, "" if reason else preparation.setting(spec)), reason)
    rules.check_used()
    if not found.possible:
        if found.impossible:
            raise PluginError(f"no cell of the plan is possible; the first: {found.impossible[0][1]}")
        raise UserError("the plan has no cells: its excludes leave nothing")
    return found


def joined(parts: list[Cells]) -> Cells:
    """The cells of several plans, each once."""
    found = Cells(excluded=sum(part.excluded for part in parts), repeated=sum(part.repeated for part in parts))
    for part in parts:
        for cell, reason in [*((cell, "") for cell in part.possible), *part.impossible]:
            found.add(cell, reason)
    return found


def _specifications(plan: Plan, rules: Rules) -> Iterator[RunSpec]:
    values = list(plan.parameters.values())
    rows = list(zip(*values, strict=True) if plan.combine == "zip" and values else itertools.product(*values))
    lists: list[list[Any]] = [
        plan.attacks or [Method()],
        plan.defenses or [Method()],
        plan.models or [None],
        plan.data or [None],
    ]
    for attack, defense, model, data in itertools.product(*lists):
        used = {f"attack:{attack.name}", *(f"defense:{name}" for name in names_of(defense))}
        for row in rows:
            params: dict[str, Any] = {}
            for source in (plan, attack, defense):
                merge(params, source.options.get("params") or {})
            params = {key: value for key, value in params.items() if counts(key, used)}
            merge(params, {f"attack:{attack.name}": attack.params} if attack.params else {})
            merge(params, {f"defense:{defense.name}": defense.params} if defense.params else {})
            for name, value in zip(plan.parameters, row, strict=True):
                key, parameter = split_parameter(name)
                if counts(key, used):
                    merge(params, {key: {parameter: value}})
            roles = {role: getattr(defense, role) for role in ROLES}
            options = {"model": model, "data": data, **plan.options, **attack.options, **defense.options}
            options |= {"attack": attack.name, "defense": defense.name, **roles, "params": params}
            if plan.scan:
                options |= {"defense": None, "detectors": [defense.name]}
            for seed in plan.seeds:
                spec = specify(rules.override({**options, "seed": seed}, used), "the plan")
                if spec.device.startswith("cuda:"):
                    raise UserError(f"the plan: device {spec.device}: write cuda; the executor chooses which GPU")
                yield spec


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
