"""Before the first stage: find and load the plugins a run names, check their parameters, signatures and tasks."""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bdm_core.discovery.candidates import Candidate, find, installed
from bdm_core.discovery.origin import Origins
from bdm_core.discovery.tasks import choose_kit, choose_task
from bdm_core.errors import PluginError, UserError
from bdm_core.files import existing
from bdm_core.hooks import implements
from bdm_core.machine.foreign import asked
from bdm_core.plugin import Access, Attack, Defense, Kit, Level, Params, Plugin, identifier
from bdm_core.run.specification import ROLES, RunSpec, build_params

ACCELERATORS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu")
"""Without any of these device files there is no accelerator on Linux, and torch need not be asked."""


@dataclass(frozen=True)
class Loaded:
    """A plugin that a run uses, with its checked parameters and what its code is.

    Attributes:
        plugin: the plugin.
        params: its parameters.
        origin: distribution, version and digest.
        libraries: bdm's libraries and kits that it requires, with their digests.
        foreign: other distributions that it or these require.
    """

    plugin: Any
    params: Params
    origin: dict[str, str] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """``kind:name``."""
        return identifier(self.plugin)


@dataclass(frozen=True)
class Prepared:
    """Everything a run needs to start: the resolved specification and its loaded plugins.

    Attributes:
        scanners: for a scan, the defenses that judge the model.
        passed_over: for a scan, installed defenses that do not, each with the reason.
    """

    spec: RunSpec
    task: str
    device: str
    kit: Loaded
    attack: Loaded | None
    detector: Loaded | None
    purifier: Loaded | None
    repairer: Loaded | None
    scanners: list[Loaded]
    passed_over: dict[str, str]
    metrics: list[Loaded]
    observers: list[Loaded]

    @property
    def defenses(self) -> list[Loaded]:
        """The defenses, each once."""
        chosen = (self.detector, self.purifier, self.repairer, *self.scanners)
        return list({item.id: item for item in chosen if item is not None}.values())

    def all(self) -> list[Loaded]:
        """Every loaded plugin once."""
        chosen = [self.kit, self.attack, *self.defenses, *self.metrics, *self.observers]
        return list({item.id: item for item in chosen if item is not None}.values())


def prepare(spec: RunSpec, loads: dict[str, Any] | None = None) -> Prepared:
    """Load exactly the plugins that ``spec`` names and check that they fit together.

    In the specification that comes back, each role names the defense that takes it, and ``defense`` is None.

    Args:
        spec: what to run.
        loads: what the process has loaded and hashed for earlier runs; more is added. It is not looked at again.

    Raises:
        PluginError: a plugin is unknown, ambiguous, broken, of another API, or does not fit the hook specifications;
            or two plugins of one kind and name take part, or several kits serve the task; or the attack suggests a
            parameter that defenses would see, or a defense needs training data that the attack does not make.
        UserError: a task that a plugin does not declare, or a parameter that is unknown or out of range.
    """
    for reference in (spec.model, spec.data, spec.training_data):
        _check_exists(reference)
    asked = {role: getattr(spec, role) or spec.defense for role in ROLES}
    defenses = [*asked.values(), *(spec.detectors or [])]
    names = dict.fromkeys([("attack", spec.attack), *(("defense", name) for name in defenses)])
    chosen = [(kind, name) for kind, name in names if name is not None]
    task = choose_task(spec.task, chosen, kit=spec.kit, model=spec.model)
    loading = _Loading(spec, task, {} if loads is None else loads)
    attack: Attack | None = None if spec.attack is None else loading.plugin("attack", spec.attack)
    roles = {role: _for_role(loading, spec, role, name) for role, name in asked.items()}
    kit: Kit = loading.plugin("kit", choose_kit(task, spec.kit))
    metric_names = spec.metrics if spec.metrics is not None else list(kit.default_metrics)
    metrics = [loading.plugin("metric", name) for name in metric_names] if attack is not None else []
    observers = [loading.plugin("observer", name) for name in spec.observers]
    for observer in observers:
        observer.check_engine()
    if attack is not None and not implements(attack, "inject_backdoor"):
        raise PluginError(f"{identifier(attack)} is no attack: it implements no inject_backdoor")
    passed_over: dict[str, str] = {}
    scanners: list[Defense] = [] if attack is not None else _scanners(loading, spec, passed_over)
    for defense in dict.fromkeys(item for item in (*roles.values(), *scanners) if item is not None):
        _check_defense(defense, attack, spec)
    unused = [key for key in spec.params if key not in loading.found]
    if unused:
        raise UserError(f"parameters are set for {unused[0]}, not used by this run of {', '.join(loading.found)}")
    suggested = {} if attack is None else suggestions(attack, loading.params(attack), kit)

    def ready(plugin: Plugin | None) -> Any:
        return None if plugin is None else loading.ready(plugin, suggested if plugin is kit else None)

    resolved = {role: None if item is None else asked[role] for role, item in roles.items()}
    return Prepared(
        spec=spec.model_copy(update={"task": task, "metrics": metric_names, "defense": None, **resolved}),
        task=task,
        device=choose_device(spec.device),
        kit=ready(kit),
        attack=ready(attack),
        detector=ready(roles["detect"]),
        purifier=ready(roles["purify"]),
        repairer=ready(roles["repair"]),
        scanners=[ready(item) for item in scanners],
        passed_over=passed_over,
        metrics=[ready(item) for item in metrics],
        observers=[ready(item) for item in observers],
    )


def _check_exists(reference: str | None) -> None:
    """Raise UserError for what can only be a path, and is none: known before anything is imported for it."""
    if reference is not None and reference.startswith(("./", "../", "/", "~")) and existing(reference) is None:
        raise UserError(f"{reference} does not exist: give a folder, hf:org/name@commit, or a built-in name")


class _Loading:
    """Loads each plugin of a run once."""

    def __init__(self, spec: RunSpec, task: str, loads: dict[str, Any]) -> None:
        self.found: dict[str, tuple[Any, Candidate]] = {}
        self._spec, self.task, self._loads = spec, task, loads

    def plugin(self, kind: str, chosen: str | Candidate) -> Any:
        """The plugin of this name, or of this candidate. Raises as :func:`prepare` does."""
        candidate = find(kind, chosen, self.task) if isinstance(chosen, str) else chosen
        if candidate.id not in self.found:
            self.found[candidate.id] = (self._kept(candidate.id, candidate, candidate.load), candidate)
        plugin, other = self.found[candidate.id]
        if other.distribution != candidate.distribution:
            both = f"{other.distribution} and {candidate.distribution}"
            raise PluginError(f"{candidate.id} is asked for from two distributions, {both}: choose one of them")
        return plugin

    def params(self, plugin: Plugin, suggested: dict[str, Any] | None = None) -> Params:
        """Its parameters as given, checked."""
        return build_params(plugin, self._spec.params.get(identifier(plugin), {}), suggested)

    def ready(self, plugin: Plugin, suggested: dict[str, Any] | None) -> Loaded:
        """The plugin with its parameters and the digests of its code."""
        candidate = self.found[identifier(plugin)][1]
        facts = self._kept("origin", candidate, lambda: self._facts(candidate))
        return Loaded(plugin, self.params(plugin, suggested), **facts)

    def _kept(self, what: str, candidate: Candidate, make: Callable[[], Any]) -> Any:
        key = f"{what} {candidate.distribution} {candidate.version}"
        return self._loads[key] if key in self._loads else self._loads.setdefault(key, make())

    def _facts(self, candidate: Candidate) -> dict[str, Any]:
        origins = Origins(self._loads)
        origin = {"distribution": candidate.distribution, "version": candidate.version}
        origin["digest"] = origins.of(candidate.dist)
        return {"origin": origin, "libraries": origins.libraries, "foreign": frozenset(origins.foreign)}


def _for_role(loading: _Loading, spec: RunSpec, role: str, name: str | None) -> Defense | None:
    """The defense for a role; None if there is none, or if the one for all roles does not take this one."""
    if name is None:
        return None
    defense: Defense = loading.plugin("defense", name)
    if implements(defense, ROLES[role]):
        return defense
    if getattr(spec, role) is not None:
        able = ", ".join(other for other, hook in ROLES.items() if implements(defense, hook))
        reason = f"it implements no {ROLES[role]}" + (f"; it can {able}" if able else "")
        raise PluginError(f"{identifier(defense)} cannot {role}: {reason}")
    return None


def _scanners(loading: _Loading, spec: RunSpec, passed_over: dict[str, str]) -> list[Defense]:
    """The defenses of a scan: those that were named, or all that judge a model of this task without being named."""
    if spec.detectors is not None:
        found = [loading.plugin("defense", name) for name in spec.detectors]
        for defense in found:
            if reason := _no_scanner(defense, spec):
                raise PluginError(f"{identifier(defense)} {reason}")
        return found
    found = []
    for candidate in installed("defense", loading.task):
        try:
            defense = candidate.load()
            reason = _no_scanner(defense, spec) or getattr(defense, "by_name_only", "")
        except PluginError as error:
            reason = str(error)
        if reason:
            passed_over[candidate.name] = reason
        else:
            found.append(loading.plugin("defense", candidate))
    if not found:
        raise PluginError(f"no installed defense can judge a model of task {loading.task} (bdm plugins list defense)")
    return found


def _no_scanner(defense: Plugin, spec: RunSpec) -> str:
    """Why a defense cannot judge a model that is all there is; "" if it can."""
    if not implements(defense, "detect"):
        return "does not detect"
    if (level := getattr(defense, "level", "model")) == "input":
        return "judges inputs, not models"
    return "judges training data, and none was given" if level == "data" and spec.training_data is None else ""


def _check_defense(defense: Defense, attack: Attack | None, spec: RunSpec) -> None:
    label = identifier(defense)
    if defense.level not in typing.get_args(Level):
        raise PluginError(f"{label} judges {defense.level!r}: levels are {', '.join(typing.get_args(Level))}")
    unknown = sorted(set(defense.access) - set(typing.get_args(Access)))
    if unknown:
        raise PluginError(f"{label} asks for the access {unknown[0]!r}; there are {', '.join(typing.get_args(Access))}")
    needs_rows = defense.level == "data" or "training-data" in defense.access
    if needs_rows and attack is None and spec.training_data is None:
        raise PluginError(f"{label} judges training data: name the data that the model was trained on")
    if needs_rows and attack is not None and not implements(attack, "poison_data"):
        raise PluginError(
            f"{label} needs training data, and {identifier(attack)} makes none: it edits the model itself"
        )


def suggestions(attack: Attack, params: Params, kit: Kit) -> dict[str, Any]:
    """What an attack suggests for the kit's parameters.

    Raises:
        PluginError: the kit has no such parameter, or it would also count while a defense works.
    """
    with asked(f"{identifier(attack)} cannot suggest parameters for the kit"):
        suggested = dict(attack.kit_params(params))
    for name in suggested:
        if name not in kit.Params.model_fields:
            raise PluginError(f"{identifier(attack)} suggests {name!r}, which {identifier(kit)} does not have")
        stages = kit.Params.mark(name, "stages")
        if stages is None or {"detect", "repair", "purify-inputs"} & set(stages):
            raise PluginError(
                f"{identifier(attack)} suggests {identifier(kit)}.{name}, which counts in the stages of defenses too: "
                "an attack may only suggest what never reaches a defense"
            )
    return suggested


def choose_device(wanted: str) -> str:
    """Turn ``auto`` into the best device there is; check that a named one exists.

    Raises:
        UserError: the device does not exist here.
    """
    if wanted == "cpu" or (wanted == "auto" and sys.platform == "linux" and not any(map(os.path.exists, ACCELERATORS))):
        return "cpu"
    try:
        import torch  # the core works without it; only the choice of a device asks for it
    except ImportError:
        if wanted == "auto":
            return "cpu"
        raise UserError(f"device {wanted} needs torch, which is not installed") from None
    local = int(os.environ.get("LOCAL_RANK") or 0)
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted == "auto":
        return f"cuda:{local}" if cuda and local else "cuda" if cuda else "mps" if mps else "cpu"
    index = int(wanted.partition(":")[2] or 0)
    here = cuda and index < torch.cuda.device_count() if wanted.startswith("cuda") else mps
    if not here:
        raise UserError(f"device {wanted} is not available here: use --device auto or cpu")
    return wanted
