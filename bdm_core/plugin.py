"""What a plugin is: a class with a name, described parameters and hook implementations; one base for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pluggy

from bdm_core import API_VERSION
from bdm_core.errors import PluginError
from bdm_core.params import Field as Field
from bdm_core.params import Params as Params
from bdm_core.records import BuiltIn

if TYPE_CHECKING:
    from bdm_core.artifacts import Model, Outputs, Secret
    from bdm_core.context import Context

KINDS = ("attack", "defense", "metric", "kit", "observer", "executor")
"""The kinds of plugin. The entry-point group of a kind is ``bdm.<kind>s``."""
Access = Literal["clean-data", "training-data", "weights", "predictions", "training", "reference"]
"""What a defense may ask for, see :class:`Defense`."""
Level = Literal["model", "input", "data"]
hookspec = pluggy.HookspecMarker("bdm")
hookimpl = pluggy.HookimplMarker("bdm")


AnyParams = Params  # within Plugin the name Params is its class attribute


class Plugin:
    """What all kinds have in common. Subclass the base of your kind, set the class attributes, implement hooks.

    The module that holds the class must be light: import torch and the like inside the hooks.

    Attributes:
        api: the version of this interface the plugin was written for.
        kind: set by the base of the kind; must agree with the entry-point group.
        name: must agree with the entry point; ``[a-z][a-z0-9-]*``.
        summary: one line for ``bdm plugins list``-style output and the documentation.
        tasks: task tags it works for, as in the entry-point group ``bdm.tasks``; empty means every task.
        paper: a link to the paper, or "".
        Params: the class of its parameters.
        presets: named parameter sets, chosen by ``--set KIND:NAME.preset=PRESET``.
        tiny_params: values that make it fast, for the conformance tests.
        distributed: True if the hooks ``inject_backdoor`` and ``repair`` use collectives, e.g. train on Accelerate:
            under ``accelerate launch`` every rank then enters them, and only ``ctx.rank == 0`` writes ``ctx.work``.
            In all other hooks rank 0 works alone, so that they must not use collectives, although the process group
            may still exist (torchmetrics: ``sync_on_compute=False``). A training loop of your own that uses
            collectives calls :func:`bdm_core.run.ranks.require_all_ranks` first: an error instead of waiting for ever.
        resources: what a stage needs, by its name (``inject-backdoor``, or ``*`` for all others): ``cpus``, ``gpus``,
            ``memory_gib`` and ``hours``. What a store has recorded counts where nothing is declared.
    """

    api: ClassVar[int] = API_VERSION
    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    tasks: ClassVar[frozenset[str]] = frozenset()
    paper: ClassVar[str] = ""
    Params: ClassVar[type[AnyParams]] = AnyParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    tiny_params: ClassVar[Mapping[str, Any]] = {}
    distributed: ClassVar[bool] = False
    resources: ClassVar[Mapping[str, Mapping[str, float]]] = {}

    def check_model(self, params: AnyParams, model: Model) -> None:
        """Refuse what the plugin cannot work with, before anything is trained: a kind of model, a file, a key.

        All plugins of a run are asked, also where the store has all results. Only what is quick is checked: a
        folder is there and its headers are sound, a variable of the environment is set; nothing is fetched.

        Args:
            params: its parameters.
            model: the model before the attack. It has the architecture of the one that the plugin gets.

        Raises:
            BdmError: what it needs of a model or of its parameters.
        """


class Attack(Plugin):
    """Puts a backdoor into a model. Hooks: ``inject_backdoor``, usually ``poison_data``; ``trigger_inputs`` and
    ``generate`` where the kit's do not fit.

    >>> class Mine(Attack):
    ...     name = "mine"
    ...     tasks = frozenset({"text-to-image"})
    ...     @hookimpl
    ...     def inject_backdoor(self, ctx, params, model, data): ...
    >>> identifier(Mine)
    'attack:mine'
    """

    kind = "attack"

    def kit_params(self, params: AnyParams) -> Mapping[str, Any]:
        """Values this attack suggests for the kit's parameters, e.g. the sampler its backdoor was built for.

        They replace the kit's defaults; what the user sets replaces them. It may suggest only fields that declare
        their ``stages``, none of which is ``detect`` or ``repair``: in those stages such a field has its default value
        (:meth:`Params.for_stage`), so that no defense learns anything from it.
        """
        return {}


class Defense(Plugin):
    """Finds or removes a backdoor. Hooks: ``detect``, ``purify_inputs``, ``repair``, any of them.

    Attributes:
        level: what ``detect`` judges: the ``model``, each ``input``, or each row of the training ``data``.
        access: what it needs. It gets just that, and tables show it:

            * ``weights``: the model to judge or repair (``model``); without it ``model`` is None.
            * ``predictions``: the model as a black box, ``ctx.query(inputs)``.
            * ``clean-data``: a share of clean data (``data``); without it ``data`` is None.
            * ``training-data``: the rows the model was trained on, roles hidden (``training_data``; at level ``data``
              also ``suspects``, in the same order).
            * ``training``: it trains the model itself: ``repair`` gets the model that training starts from, not the
              backdoored one.
            * ``reference``: a public base of the model, which its parameters name.
        least_clean_models: how many clean models ``calibrate`` needs; ``bdm calibrate`` refuses fewer at once.
        by_name_only: why a scan that names no detectors does not ask this one, e.g. what it costs; "" if it does.

    >>> class Mine(Defense):
    ...     name = "mine"
    ...     level = "input"
    ...     access = frozenset({"predictions"})
    ...     @hookimpl
    ...     def detect(self, ctx, params, suspects): ...
    >>> identifier(Mine), sorted(Defense.access)
    ('defense:mine', ['clean-data', 'weights'])
    """

    kind = "defense"
    level: ClassVar[Level] = "model"
    access: ClassVar[frozenset[Access]] = frozenset({"weights", "clean-data"})
    least_clean_models: ClassVar[int] = 1
    by_name_only: ClassVar[str] = ""

    def check(self, params: AnyParams, clean_rows: int) -> None:
        """Refuse what the defense cannot work with, before anything is trained.

        Args:
            params: its parameters.
            clean_rows: how many rows of clean data it gets; 0 without the access ``clean-data``.

        Raises:
            UserError: what it needs, and how to give it that, e.g. a larger ``--data-share``.
        """

    def calibrate(self, ctx: Context, params: AnyParams, models: Mapping[str, Model], out: Path) -> None:
        """Write a calibration file from clean models, for ``bdm calibrate``.

        Args:
            ctx: seed, device, kit parameters; ``ctx.work`` is an empty folder for temporary files.
            params: the defense's parameters; the file records those marked ``calibrated``.
            models: the clean models by the reference that they were named with, opened and sealed by the kit.
            out: the file to write; it does not exist.

        Raises:
            PluginError: the defense has no calibration.
        """
        raise PluginError(f"defense:{self.name} has no calibration: its threshold does not come from clean models")


class Metric(Plugin):
    """Measures a model and its outputs. Hook: ``score``; a file or key that it needs is looked for in ``check_model``.

    Attributes:
        sees_stages: whether its subjects have ``stages``: seconds, memory and figures of the defenses' stages. They are
            part of what decides its numbers, so that those are computed again where a defense was.

    >>> class Mine(Metric):
    ...     name = "mine"
    ...     @hookimpl
    ...     def score(self, ctx, params, subject):
    ...         return []
    >>> identifier(Mine)
    'metric:mine'
    """

    kind = "metric"
    sees_stages: ClassVar[bool] = False


class Kit(Plugin):
    """Serves one or several tasks: opens models and data, runs models, shows artifacts.

    Attributes:
        default_metrics: names of metrics for runs that name none; the task's extra installs them.
        triggered_share: share of the evaluation inputs that also get the trigger, (0, 1], unless the user says.
        precedence: of several tasks that a run's plugins leave open, the one whose kit has the highest is taken; of
            several of one kit that of its first built-in model.
        tiny_references: task -> the name of its tiny model and data for the conformance tests, where not ``tiny``.
    """

    kind = "kit"
    default_metrics: ClassVar[tuple[str, ...]] = ()
    triggered_share: ClassVar[float] = 1.0
    precedence: ClassVar[int] = 0
    tiny_references: ClassVar[Mapping[str, str]] = {}

    def models(self) -> list[BuiltIn]:
        """The built-in models, the default one of each task first. Light: nothing heavy is imported."""
        return []

    def data_sets(self) -> list[BuiltIn]:
        """The built-in data sets, the default one first. Light."""
        return []

    def task_of(self, folder: Path) -> str | None:
        """The task of a local model folder, or None if it is none of this kit's models. Light: it reads JSON files."""
        return None

    def from_single_file(self, weights: Path, config: Path, folder: Path) -> bool:
        """Write a checkpoint of one file in the field's own names as a model folder, for ``bdm import``.

        Args:
            weights: a safetensors file.
            config: a folder with the configurations of such a model, or one file of them.
            folder: an existing empty folder.

        Returns:
            Whether the file is such a checkpoint of this kit's.

        Raises:
            ArtifactError: it is, but cannot be converted.
        """
        return False

    def tiny_secret(self, folder: Path, model: Model) -> Secret:
        """A secret for the conformance tests of metrics, sealed in ``folder``."""
        raise NotImplementedError(f"kit {self.name} has no tiny_secret: the conformance tests of metrics need it")

    def perfect_outputs(self, folder: Path, outputs: Outputs, secret: Secret) -> Outputs:
        """What a perfect attack gives for triggered inputs, as many as ``outputs``, sealed in ``folder``."""
        raise NotImplementedError(f"kit {self.name} has no perfect_outputs: the conformance tests of metrics need it")


class Observer(Plugin):
    """Watches a run.

    Hooks: ``run_started``, ``stage_started``, ``stage_progress``, ``stage_finished``, ``run_finished``.
    """

    kind = "observer"

    def check_engine(self) -> None:
        """Raises UserError, which says what to install, if what it tells is not there; called before a run begins."""


class Executor(Plugin):
    """Runs the tasks of a sweep on an engine, see ``docs/sweep.md``. It implements no hooks but the methods below.

    A task is JSON: ``number``, ``what`` (for people), ``seconds`` (expected), ``priority`` (those of the longest chain
    of tasks that begins with it),
    ``needs`` (``cpus``, ``gpus``, ``memory`` in bytes, ``hours``; those that are known) and what
    ``bdm_sweep.work.perform(task)`` needs on a machine that sees the store. That returns the outcome, also JSON, with
    ``status`` and, where that is ``failed``, ``error``. Performing a task again does no harm.

    Attributes:
        here: whether tasks run on this machine, so that devices can be checked before anything runs.
    """

    kind = "executor"
    here: ClassVar[bool] = False

    def open(self, params: Any, folder: Path) -> None:
        """Get ready. ``folder`` is for logs. Raises BdmError if the engine cannot be reached."""

    def capacity(self) -> int:
        """How many tasks :meth:`submit` takes now."""
        raise NotImplementedError

    def submit(self, tasks: list[dict[str, Any]]) -> None:
        """Take tasks, the most urgent first."""
        raise NotImplementedError

    def collect(self, seconds: float) -> list[tuple[int, dict[str, Any]]]:
        """Number and outcome of tasks that have finished since, after so many seconds at most."""
        raise NotImplementedError

    def close(self) -> None:
        """End what still runs and give everything back."""


BASES: Mapping[str, type[Plugin]] = {base.kind: base for base in (Attack, Defense, Metric, Kit, Observer, Executor)}
"""Kind -> the class that its plugins derive from."""


def identifier(plugin: Plugin | type[Plugin]) -> str:
    """``kind:name``, the key of everything that belongs to a plugin."""
    return f"{plugin.kind}:{plugin.name}"
