"""A bench: a task's tiny model and data in a temporary folder, and hooks called on them under watch."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from bdm_core import hooks
from bdm_core.artifacts import Artifact, Data, Model, Outputs, Secret, artifacts_in
from bdm_core.context import Context
from bdm_core.discovery.candidates import find, scoped
from bdm_core.discovery.tasks import choose_kit, kits_by_task
from bdm_core.errors import PluginError
from bdm_core.files import canonical_json, list_files
from bdm_core.plugin import Kit, Params, Plugin, identifier
from bdm_core.run.specification import build_params
from bdm_core.store.stage_record import input_digests
from bdm_core.testing import guard
from bdm_core.testing.contents import count_of

TINY = "tiny"
"""The reference under which a kit opens its tiny model and data, unless its ``tiny_references`` say otherwise."""

Value = TypeVar("Value")


@dataclass
class Call:
    """One call of a hook and what it left behind.

    Attributes:
        value: what the hook returned.
        ctx: its context.
        given: the artifacts among its inputs.
        strays: files it made, changed or removed in the bench's folder, outside its own folders and its inputs.
        altered: inputs that no longer match their manifests.
        snooped: files and folders of other stages that it opened or listed.
        leftovers: files in ``ctx.out`` that belong to no artifact it returned.
        steps: how often it reported progress.
    """

    value: Any
    ctx: Context
    given: list[Artifact] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    snooped: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    steps: int = 0

    @property
    def digest(self) -> str:
        """Equal for equal results: artifacts count by their content, records field by field."""
        return canonical_json(input_digests(self.value))


def kit_for(task: str) -> Kit:
    """The installed kit that serves a task.

    Raises:
        UserError: there is none; install one, or set ``task`` in the test class.
        PluginError: there are several; allow one of them with ``BDM_PLUGINS``.
    """
    return cast(Kit, choose_kit(task).load())


def leading_task() -> str:
    """A task of the installed kit with the highest ``precedence``; kits that cannot be loaded are passed over.

    Raises:
        PluginError: no kit can be loaded.
    """
    ranks: dict[str, int] = {}
    for task in sorted(kits_by_task()):
        with suppress(PluginError):
            ranks[task] = kit_for(task).precedence
    if not ranks:
        raise PluginError("no installed kit can be loaded: install the one of the plugin's task")
    return max(ranks, key=lambda task: ranks[task])


def resolve(plugin: str | type[Plugin] | Plugin, kind: str, task: str | None = None) -> Plugin:
    """An instance of a plugin given by its installed name (and task, if several tasks have it) or by its class."""
    if isinstance(plugin, str):
        return find(kind, plugin, task).load()
    return plugin() if isinstance(plugin, type) else plugin


def new_context(folder: Path, seed: int = 0, stage: str = "", **fields: Any) -> Context:
    """A context on the CPU with empty folders ``out`` and ``work`` below ``folder``."""
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True)
    return Context(out=folder / "out", work=folder / "work", seed=seed, stage=stage, **fields)


class Bench:
    """The task kit's tiny model, data and inputs, made when first asked for, and watched calls of hooks.

    Args:
        root: an empty or new folder; every call gets folders of its own below it.
        kit: the task's kit.
        task: the task tag.
        kit_params: values for the kit's parameters; they replace the kit's ``tiny_params``.
        suggested: what the attack suggests for the kit's parameters.
    """

    def __init__(
        self,
        root: Path,
        kit: Kit,
        task: str,
        kit_params: Mapping[str, Any] | None = None,
        suggested: Mapping[str, Any] | None = None,
    ) -> None:
        (root / "cwd").mkdir(parents=True)
        self.root = root.resolve()
        self.kit = kit
        self.task = task
        values = {**kit.tiny_params, **(kit_params or {})}
        self.tiny = kit.tiny_references.get(task, TINY)
        self.kit_params: Params = build_params(kit, values, dict(suggested or {}))
        self._made: dict[str, Any] = {}
        self._tracebacks: dict[str, TracebackType | None] = {}
        self._calls = 0

    def once(self, name: str, make: Callable[[], Value]) -> Value:
        """``make()``, remembered under a name; a failure is remembered too and raised again."""
        if name not in self._made:
            try:
                self._made[name] = make()
            except Exception as error:
                self._made[name], self._tracebacks[name] = error, error.__traceback__
        found = self._made[name]
        if isinstance(found, Exception):
            raise found.with_traceback(self._tracebacks[name])
        return cast(Value, found)

    def folder(self, name: str) -> Path:
        """A new folder for one call; its name is neutral, as in the store."""
        self._calls += 1
        return self.root / "stages" / f"{self._calls:03d}-{name}"

    def context(self, stage: str, seed: int = 1, **fields: Any) -> Context:
        """A context for ``stage`` with new folders and the kit's parameters."""
        return new_context(self.folder(stage), seed, stage, kit=self.kit_params.for_stage(stage), **fields)

    def asking(self, stage: str, model: Model, seed: int = 1) -> Context:
        """A context for ``stage`` whose ``query`` lets the kit run ``model``."""

        def ask(inputs: Data) -> Outputs:
            asked[0] += 1
            place = new_context(ctx.work / f"query-{asked[0]}", seed, stage, kit=ctx.kit)
            with guard.unwatched():
                return cast(
                    Outputs,
                    hooks.call(scoped(self.kit), "generate", ctx=place, model=model, inputs=inputs, secret=None),
                )

        asked = [0]
        ctx = self.context(stage, seed, on_query=ask)
        return ctx

    def call(
        self,
        hook: str,
        plugins: Sequence[Plugin],
        params: Params | None = None,
        *,
        ctx: Context | None = None,
        seed: int = 1,
        **inputs: Any,
    ) -> Call:
        """Call a hook as the runner does, from an empty current folder, and watch it.

        Args:
            hook: its name, e.g. ``detect``.
            plugins: who takes part, the first one asked first.
            params: the first plugin's parameters; its defaults by default. Left out if the hook takes none.
            ctx: where to write; a new context with ``seed`` by default.
            seed: seed of a new context.
            inputs: the hook's further arguments.
        """
        stage = hook.replace("_", "-")
        steps = [0]

        def count(label: str, done: int, total: int, loss: float | None) -> None:
            steps[0] += 1

        ctx = ctx or self.context(stage, seed, on_progress=count)
        if hooks.takes(hook, "params"):
            inputs["params"] = (params or plugins[0].Params()).for_stage(stage)
        given = [artifact for value in inputs.values() for artifact in artifacts_in(value)]
        references = [Path(value) for value in inputs.values() if isinstance(value, str) and Path(value).exists()]
        digests = [item.digest for item in given]
        own = [ctx.out, ctx.work]
        apart = [*own, *(item.path for item in given)]
        before = guard.snapshot(self.root, apart)
        with guard.inside(self.root / "cwd"), guard.watched() as opened:
            value = hooks.call(scoped(*plugins), hook, ctx=ctx, **inputs)
        allowed = [*own, self.root / "cwd", *(item.path for item in given), *references]
        return Call(
            value=value,
            ctx=ctx,
            given=given,
            strays=guard.differences(before, guard.snapshot(self.root, apart)),
            altered=[item.path.name for item, digest in zip(given, digests, strict=True) if _altered(item, digest)],
            snooped=guard.outside(opened, self.root, allowed),
            leftovers=_leftovers(ctx.out, artifacts_in(value)),
            steps=steps[0],
        )

    def _kit_call(self, name: str, hook: str, seed: int = 1, **inputs: Any) -> Any:
        call = self.once(name, lambda: self.call(hook, [self.kit], self.kit_params, seed=seed, **inputs))
        return call.value

    @property
    def model(self) -> Model:
        """The kit's tiny model."""
        return cast(Model, self._kit_call("model", "open_model", reference=self.tiny))

    @property
    def data(self) -> Data:
        """The kit's tiny clean data."""
        return cast(Data, self._kit_call("data", "open_data", model=self.model, reference=self.tiny))

    @property
    def shared(self) -> Data:
        """The half of the data that the defender is allowed."""
        rows = count_of(self.data)
        return self.select([self.data], sorted(random.Random(0).sample(range(rows), rows // 2)))

    def select(self, sources: list[Data], rows: list[int], *, blind: bool = True) -> Data:
        """Chosen rows of data, in the order given; blind, as a defender gets them."""
        name = f"select {[item.digest for item in sources]} {rows} {blind}"
        return cast(Data, self._kit_call(name, "select_rows", sources=sources, rows=rows, blind=blind))

    def inputs(self, seed: int = 1) -> Data:
        """Clean evaluation inputs."""
        made = self._kit_call(f"inputs {seed}", "make_inputs", seed, model=self.model, data=self.data)
        return cast(Data, made)

    def generate(
        self, model: Model, inputs: Data, secret: Secret | None = None, asked_first: Plugin | None = None
    ) -> Outputs:
        """Outputs of a model, always with the same seed; ``asked_first`` is an attack with its own sampler."""
        plugins = [self.kit] if asked_first is None else [asked_first, self.kit]
        names = " ".join(identifier(item) for item in plugins)
        name = f"generate {names} {model.digest} {inputs.digest} {secret.digest if secret else None}"
        call = self.once(name, lambda: self.call("generate", plugins, model=model, inputs=inputs, secret=secret))
        return cast(Outputs, call.value)


def _altered(artifact: Artifact, digest: str) -> bool:
    try:
        return type(artifact).open(artifact.path).digest != digest
    except Exception:  # whatever it is now, it is not what was handed over
        return True


def _leftovers(out: Path, artifacts: list[Artifact]) -> list[str]:
    sealed = [item.path.resolve() for item in artifacts]
    names = list_files(out, links=True)
    return [name for name in names if not any((out / name).resolve().is_relative_to(item) for item in sealed)]
