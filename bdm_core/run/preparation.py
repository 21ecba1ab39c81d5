"""Before the first stage: find and load the plugins a run names, check their parameters, signatures and tasks."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from bdm_core.discovery.candidates import Candidate, find
from bdm_core.discovery.tasks import choose_kit, choose_task
from bdm_core.errors import PluginError, UserError
from bdm_core.hooks import implements
from bdm_core.plugin import Params, Plugin, identifier
from bdm_core.run.specification import RunSpec, build_params


@dataclass(frozen=True)
class Loaded:
    """A plugin that a run uses, with where it comes from and its checked parameters."""

    plugin: Plugin
    candidate: Candidate
    params: Params
    origin: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """``kind:name``."""
        return identifier(self.plugin)


@dataclass(frozen=True)
class Prepared:
    """Everything a run needs to start: the resolved specification and its loaded plugins."""

    spec: RunSpec
    task: str
    device: str
    kit: Loaded
    attack: Loaded | None
    detector: Loaded | None
    repairer: Loaded | None
    metrics: list[Loaded]
    observers: list[Loaded]

    def all(self) -> list[Loaded]:
        """Every loaded plugin once."""
        chosen = [self.kit, self.attack, self.detector, self.repairer, *self.metrics, *self.observers]
        return list({item.id: item for item in chosen if item is not None}.values())


def prepare(spec: RunSpec) -> Prepared:
    """Load exactly the plugins that ``spec`` names and check that they fit together.

    Raises:
        PluginError: a plugin is unknown, ambiguous, broken, of another API, or does not fit the hook specifications;
            or two plugins of one kind and name take part, or several kits serve the task; or the attack suggests a
            parameter that defenses would see.
        UserError: a task that a plugin does not declare, or a parameter that is unknown or out of range.
    """
    attack = _find_and_load("attack", spec.attack)
    detector = _find_and_load("defense", spec.detect)
    repairer = detector if spec.repair == spec.detect else _find_and_load("defense", spec.repair)
    chosen = [item for item in (attack, detector, repairer) if item is not None]
    task = choose_task(spec.task, [plugin for plugin, _ in chosen], spec.kit)
    kit = _load(choose_kit(task, spec.kit))
    names = spec.metrics if spec.metrics is not None else list(getattr(kit[0], "default_metrics", ()))
    metrics = [_load(find("metric", name)) for name in names] if attack is not None else []
    observers = [_load(find("observer", name)) for name in spec.observers]
    for plugin, _ in [*chosen, *metrics]:
        if plugin.tasks and task not in plugin.tasks:
            raise UserError(
                f"{identifier(plugin)} does not work for task {task}; it declares {', '.join(sorted(plugin.tasks))}"
            )
    _require(attack, "inject_backdoor", "is no attack: it implements no inject_backdoor")
    if spec.attack is None:
        _require(detector, "detect", "cannot detect: it only repairs")
    if detector is not None and implements(detector[0], "detect"):
        _check_level(detector[0])
    everything: dict[str, tuple[Plugin, Candidate]] = {}
    for pair in [kit, *chosen, *metrics, *observers]:
        other = everything.setdefault(identifier(pair[0]), pair)[1]
        if other.distribution != pair[1].distribution:
            both = f"{other.distribution} and {pair[1].distribution}"
            raise PluginError(f"{identifier(pair[0])} is asked for from two distributions, {both}: choose one of them")
    unused = [key for key in spec.params if key not in everything]
    if unused:
        used = ", ".join(everything)
        raise UserError(f"parameters are set for {unused[0]}, which this run does not use: it uses {used}")
    ready = {key: _with_params(pair, spec) for key, pair in everything.items() if key != identifier(kit[0])}
    suggested: dict[str, Any] = {}
    if attack is not None:
        suggested = suggestions(attack[0], ready[identifier(attack[0])].params, kit[0])
    ready[identifier(kit[0])] = _with_params(kit, spec, suggested)

    def pick(pair: tuple[Plugin, Candidate] | None) -> Loaded | None:
        return None if pair is None else ready[identifier(pair[0])]

    return Prepared(
        spec=spec.model_copy(update={"task": task, "metrics": names}),
        task=task,
        device=choose_device(spec.device),
        kit=ready[identifier(kit[0])],
        attack=pick(attack),
        detector=pick(detector),
        repairer=pick(repairer),
        metrics=[ready[identifier(pair[0])] for pair in metrics],
        observers=[ready[identifier(pair[0])] for pair in observers],
    )


def suggestions(attack: Plugin, params: Params, kit: Plugin) -> dict[str, Any]:
    """What an attack suggests for the kit's parameters.

    Raises:
        PluginError: the kit has no such parameter, or it would also count while a defense works.
    """
    suggested = dict(attack.kit_params(params))
    for name in suggested:
        field = kit.Params.model_fields.get(name)
        if field is None:
            raise PluginError(f"{identifier(attack)} suggests {name!r}, which {identifier(kit)} does not have")
        extra = field.json_schema_extra
        stages = extra.get("stages") if isinstance(extra, dict) else None
        if not isinstance(stages, list) or {"detect", "repair"} & {str(stage) for stage in stages}:
            raise PluginError(
                f"{identifier(attack)} suggests {identifier(kit)}.{name}, which counts in the stages of defenses too: "
                "an attack may only suggest what never reaches detect and repair"
            )
    return suggested


def choose_device(wanted: str) -> str:
    """Turn ``auto`` into the best device there is; check that a named one exists.

    Raises:
        UserError: the device does not exist here.
    """
    if wanted == "cpu":
        return wanted
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


def _find_and_load(kind: str, name: str | None) -> tuple[Plugin, Candidate] | None:
    return None if name is None else _load(find(kind, name))


def _load(candidate: Candidate) -> tuple[Plugin, Candidate]:
    return candidate.load(), candidate


def _with_params(pair: tuple[Plugin, Candidate], spec: RunSpec, suggested: dict[str, Any] | None = None) -> Loaded:
    plugin, candidate = pair
    params = build_params(plugin, spec.params.get(identifier(plugin), {}), suggested)
    return Loaded(plugin, candidate, params, candidate.origin())


def _require(pair: tuple[Plugin, Candidate] | None, hook: str, complaint: str) -> None:
    if pair is not None and not implements(pair[0], hook):
        raise PluginError(f"{identifier(pair[0])} {complaint}")


def _check_level(detector: Plugin) -> None:
    if detector.level not in ("model", "input"):
        raise PluginError(
            f"{identifier(detector)} judges {detector.level!r}: a run can have a whole model or its inputs judged, "
            "there is no stage for the rows of training data yet"
        )
