"""What every plugin must satisfy, whatever its kind: class attributes, entry point, imports, signatures, parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import pytest

from bdm_core import API_VERSION
from bdm_core.artifacts import Artifact, Model, Secret, artifacts_in
from bdm_core.discovery.candidates import NAME_PATTERN, installed, scoped
from bdm_core.discovery.tasks import kits_by_task
from bdm_core.errors import BdmError
from bdm_core.files import PICKLE_SUFFIXES, list_files
from bdm_core.hooks import HOOKS, implements
from bdm_core.plugin import BASES, Params, Plugin, identifier
from bdm_core.run.specification import build_params
from bdm_core.testing.alone import HEAVY, run_alone
from bdm_core.testing.tiny import Bench, Call, kit_for, leading_task, resolve


class PluginConformance:
    """Base of the conformance tests. Subclass the one of the plugin's kind.

    Attributes:
        plugin: the plugin's installed name, or its class.
        params: parameters that make it fast, the rest are its defaults; if empty, the plugin's ``tiny_params``.
        kit_params: values for the task kit's parameters, over the kit's own ``tiny_params``.
        task: the task to test on; by default the first that the plugin declares and an installed kit serves. For a
            plugin of every task it is one of the kit with the highest ``precedence``.
        kind: set by the subclass of the kind.
        hooks_of_kind: hooks that a plugin of this kind may implement.
        one_of: of these hooks it must implement at least one.
        all_of: all of these hooks it must implement.
    """

    plugin: ClassVar[str | type[Plugin]]
    params: ClassVar[Mapping[str, Any]] = {}
    kit_params: ClassVar[Mapping[str, Any]] = {}
    task: ClassVar[str | None] = None
    kind: ClassVar[str] = ""
    hooks_of_kind: ClassVar[tuple[str, ...]] = ()
    one_of: ClassVar[tuple[str, ...]] = ()
    all_of: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def bench(self, tmp_path_factory: pytest.TempPathFactory) -> Bench:
        """The bench of this test class, made once."""
        cls = type(self)
        if "_bench" not in cls.__dict__:
            cls._bench = self.make_bench(tmp_path_factory)  # type: ignore[attr-defined]
        return cast(Bench, cls._bench)  # type: ignore[attr-defined]

    def make_bench(self, folders: pytest.TempPathFactory) -> Bench:
        """A bench for the task."""
        task = self.chosen_task()
        return Bench(folders.mktemp("bench") / "root", kit_for(task), task, self.kit_params)

    def chosen_task(self) -> str:
        """The task the plugin is tested on."""
        declared = self.subject.tasks
        if self.task or not declared:
            return self.task or leading_task()
        tasks = sorted(declared & set(kits_by_task()))
        assert tasks, f"no installed kit serves a task of {identifier(self.subject)}; install one"
        return tasks[0]

    @property
    def subject(self) -> Plugin:
        """An instance of the plugin."""
        return resolve(self.plugin, self.kind, self.task)

    @property
    def chosen_params(self) -> Params:
        """The parameters of the tests: ``params``, or else the plugin's ``tiny_params``."""
        return build_params(self.subject, dict(self.params or self.subject.tiny_params))

    def test_class_attributes(self) -> None:
        plugin = self.subject
        assert plugin.kind == self.kind, f"kind is {plugin.kind!r}, expected {self.kind!r}"
        base = BASES[self.kind]
        assert isinstance(plugin, base), f"{type(plugin).__name__} does not derive from bdm_core.{base.__name__}"
        assert NAME_PATTERN.fullmatch(plugin.name), f"name {plugin.name!r} does not match {NAME_PATTERN.pattern}"
        summary = plugin.summary
        assert summary.strip() and "\n" not in summary, f"summary must be one line, not {summary!r}"
        assert isinstance(plugin.tasks, frozenset), "tasks must be a frozenset of task tags"
        assert all(isinstance(tag, str) and tag for tag in plugin.tasks), f"tasks are {plugin.tasks!r}"
        assert plugin.paper == "" or plugin.paper.startswith("https://"), f"paper {plugin.paper!r} is no https link"

    def test_api_version(self) -> None:
        assert self.subject.api == API_VERSION, f"api is {self.subject.api}, this bdm has {API_VERSION}"

    def test_entry_point(self) -> None:
        plugin = type(self.subject)
        home = f"{plugin.__module__}:{plugin.__qualname__}"
        targets = {item.target: item for item in installed(self.kind) if item.name == plugin.name}
        group = f"bdm.{self.kind}s"
        assert home in targets, f"no entry point {plugin.name!r} = {home!r} in group {group!r}; found {sorted(targets)}"
        assert type(targets[home].load()) is plugin

    def test_task_entry_points(self) -> None:
        plugin = type(self.subject)
        home = f"{plugin.__module__}:{plugin.__qualname__}"
        dists = [item.dist for item in installed(self.kind) if item.target == home]
        entries = [entry for dist in dists for entry in dist.entry_points.select(group="bdm.tasks")]
        named = {entry.name.partition(".")[0] for entry in entries if entry.value == home}
        assert named == plugin.tasks, f"entry points of group bdm.tasks say {sorted(named)}, not {sorted(plugin.tasks)}"

    def test_light_import(self) -> None:
        module = type(self.subject).__module__
        error, heavy = run_alone(f"import {module}", HEAVY)
        assert not error, f"module {module} cannot be imported by its name: {error}"
        assert not heavy, f"importing {module} imports {heavy}: move that into the hooks"

    def test_signatures(self) -> None:
        plugin = self.subject
        try:
            scoped(plugin)
        except BdmError as error:
            pytest.fail(str(error))
        for name in (hook for hook in HOOKS if implements(plugin, hook)):
            assert name in self.hooks_of_kind, f"{self.kind} plugins do not implement {name}"
        missing = [name for name in self.all_of if not implements(plugin, name)]
        assert not missing, f"{identifier(plugin)} does not implement {', '.join(missing)}"
        found = not self.one_of or any(implements(plugin, name) for name in self.one_of)
        assert found, f"{identifier(plugin)} implements none of {', '.join(self.one_of)}"

    def test_parameters(self) -> None:
        plugin = self.subject
        assert issubclass(plugin.Params, Params), "Params must derive from bdm_core.plugin.Params"
        for name, field in plugin.Params.model_fields.items():
            assert (field.description or "").strip(), f"parameter {name} has no description"
            assert not field.is_required(), f"parameter {name} has no default"
        sets = [{}, dict(self.params), dict(plugin.tiny_params), *({"preset": preset} for preset in plugin.presets)]
        for values in sets:
            try:
                params = build_params(plugin, values)
            except BdmError as error:
                pytest.fail(f"{values or 'the defaults'}: {error}")
            again = plugin.Params(**json.loads(params.model_dump_json()))
            assert again == params, f"{values or 'the defaults'} change when written as JSON and read again"


class StageConformance(PluginConformance):
    """Adds what holds for every hook that is a stage: where it writes, what it seals, that it is deterministic."""

    def calls(self, bench: Bench, attempt: int = 0, seed: int = 1) -> dict[str, Call]:
        """The calls to check, by name. Another ``attempt`` repeats them with the same inputs and seed."""
        raise TypeError(f"{type(self).__name__} subclasses StageConformance directly; subclass the plugin's kind")

    def test_writes_only_below_out_and_work(self, bench: Bench) -> None:
        for name, call in self.calls(bench).items():
            assert not call.strays, f"{name} wrote outside ctx.out and ctx.work: {', '.join(call.strays)}"

    def test_inputs_unchanged(self, bench: Bench) -> None:
        for name, call in self.calls(bench).items():
            assert not call.altered, f"{name} changed its input {', '.join(call.altered)}"

    def test_reads_only_its_inputs(self, bench: Bench) -> None:
        for name, call in self.calls(bench).items():
            assert not call.snooped, f"{name} opened {', '.join(call.snooped)}, which it was not given"

    def test_no_pickles(self, bench: Bench) -> None:
        for name, call in self.calls(bench).items():
            files = [file for folder in (call.ctx.out, call.ctx.work) for file in list_files(folder, links=True)]
            found = [file for file in files if any(file.lower().endswith(suffix) for suffix in PICKLE_SUFFIXES)]
            assert not found, f"{name} wrote {', '.join(found)}: use safetensors and JSON"

    def test_artifacts_are_sealed(self, bench: Bench) -> None:
        for name, call in self.calls(bench).items():
            for artifact in artifacts_in(call.value):
                assert type(artifact).open(artifact.path) == artifact, f"{name}: the manifest is not what was returned"
                assert artifact.task == bench.task, f"{name} sealed for task {artifact.task!r}, not {bench.task!r}"
                self.check_place(name, artifact, call)
            assert not call.leftovers, f"{name} left files that no artifact seals: {', '.join(call.leftovers)}"

    def check_place(self, name: str, artifact: Artifact, call: Call) -> None:
        """A new artifact lies below ``ctx.out``; a model in ``model``, a secret in ``secret``."""
        if not artifact.path.resolve().is_relative_to(call.ctx.out.resolve()):
            assert artifact in call.given, f"{name} returned an artifact outside ctx.out: {artifact.path}"
            return
        place = artifact.path.resolve().relative_to(call.ctx.out.resolve()).as_posix()
        assert place != ".", f"{name} sealed ctx.out itself; seal a subfolder of it"
        if isinstance(artifact, Model | Secret):
            assert place == artifact.kind_name, f"{name} sealed a {artifact.kind_name} in {place!r}"

    def test_same_seed_same_result(self, bench: Bench) -> None:
        again = self.calls(bench, attempt=1)
        for name, call in self.calls(bench).items():
            assert call.digest == again[name].digest, f"{name} gives another result with the same seed"
