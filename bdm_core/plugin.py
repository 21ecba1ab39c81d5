"""What a plugin is: a class with a name, described parameters and hook implementations; one base for each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pluggy
import pydantic
from pydantic import BaseModel, ConfigDict, field_validator

from bdm_core import API_VERSION
from bdm_core.errors import PluginError
from bdm_core.records import BuiltIn

if TYPE_CHECKING:
    from bdm_core.artifacts import Model, Outputs, Secret
    from bdm_core.context import Context

KINDS = ("attack", "defense", "metric", "kit", "observer", "executor")
"""The kinds of plugin. The entry-point group of a kind is ``bdm.<kind>s``."""
Access = Literal["clean-data", "training-data", "weights", "predictions", "training", "reference"]
"""What a defense may ask for, see :class:`Defense`."""
Level = Literal["model", "input", "data"]
LARGEST = 10**9
"""No parameter is a larger whole number; a plugin states closer limits."""

hookspec = pluggy.HookspecMarker("bdm")
hookimpl = pluggy.HookimplMarker("bdm")


def Field(
    default: Any = ..., *, description: str, stages: Sequence[str] | None = None, calibrated: bool = False, **more: Any
) -> Any:
    """A parameter: pydantic's ``Field`` with a description and two marks of its own.

    Args:
        default: its value if nothing is given; a plugin's parameters all have one.
        description: one or two sentences with unit and range, for ``bdm plugins show``.
        stages: the stages in which it counts, e.g. ``["generate"]``: changing it repeats those alone. In every other
            stage the field has its default value. None: it counts in all.
        calibrated: a calibration file holds for one value of it, see ``bdm calibrate``.
        more: pydantic's further arguments (``gt``, ``ge``, ``pattern``, ...).

    >>> class MineParams(Params):
    ...     poison_rate: float = Field(0.1, ge=0, le=1, description="Share of training images to poison.")
    ...     sampler: str = Field("ddim", description="Of the evaluation.", stages=["generate"])
    >>> MineParams(poison_rate=0.2).poison_rate
    0.2
    >>> MineParams.mark("sampler", "stages")
    ['generate']
    """
    marks: dict[str, Any] = {"stages": list(stages)} if stages is not None else {}
    if calibrated:
        marks["calibrated"] = True
    return pydantic.Field(default, description=description, json_schema_extra=marks or None, **more)


class Params(BaseModel):
    """Base of a plugin's parameters: frozen, unknown names refused, every field with a description and a default.

    NaN, infinity and whole numbers beyond :data:`LARGEST` are refused. A string that is the path of an existing file
    counts by the file's content.

    >>> class MineParams(Params):
    ...     steps: int = Field(50, ge=1, description="Sampling steps.", stages=["generate"])
    >>> MineParams(steps=20).for_stage("generate"), MineParams(steps=20).for_stage("detect")
    (MineParams(steps=20), MineParams(steps=50))
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, protected_namespaces=(), allow_inf_nan=False
    )

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        parts = [value]
        while parts:
            part = parts.pop()
            if isinstance(part, int) and abs(part) > LARGEST:
                raise ValueError(f"whole numbers are at most {LARGEST}")
            parts += part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()
        return value

    @classmethod
    def mark(cls, name: str, mark: str) -> Any:
        """What :func:`Field` was told for a parameter: its ``stages``, whether it is ``calibrated``; else None."""
        extra = cls.model_fields[name].json_schema_extra
        return extra.get(mark) if isinstance(extra, dict) else None

    @classmethod
    def calibrated_fields(cls) -> tuple[str, ...]:
        """The parameters whose values a calibration depends on, in their order."""
        return tuple(name for name in cls.model_fields if cls.mark(name, "calibrated"))

    def for_stage(self, stage: str) -> Params:
        """These parameters with every field that does not count for ``stage`` set back to its default."""
        limited = {name: self.mark(name, "stages") for name in type(self).model_fields}
        foreign = {name for name, stages in limited.items() if stages is not None and stage not in stages}
        return type(self)(**self.model_dump(exclude=foreign)) if foreign else self


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
    """Measures a model and its outputs. Hook: ``score``.

    >>> class Mine(Metric):
    ...     name = "mine"
    ...     @hookimpl
    ...     def score(self, ctx, params, subject):
    ...         return []
    >>> identifier(Mine)
    'metric:mine'
    """

    kind = "metric"


class Kit(Plugin):
    """Serves one or several tasks: opens models and data, runs models, shows artifacts.

    Attributes:
        default_metrics: names of metrics for runs that name none; the task's extra installs them.
        triggered_share: share of the evaluation inputs that also get the trigger, (0, 1], unless the user says.
        precedence: of several tasks that a run's plugins leave open, the one whose kit has the highest is taken.
    """

    kind = "kit"
    default_metrics: ClassVar[tuple[str, ...]] = ()
    triggered_share: ClassVar[float] = 1.0
    precedence: ClassVar[int] = 0

    def models(self) -> list[BuiltIn]:
        """The built-in models, the default one first. Light: nothing heavy is imported."""
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
    """Watches a run. Hooks: ``stage_started``, ``stage_progress``, ``stage_finished``."""

    kind = "observer"


class Executor(Plugin):
    """Runs the stages of many runs on an engine; it comes with ``bdm sweep``."""

    kind = "executor"


BASES: Mapping[str, type[Plugin]] = {base.kind: base for base in (Attack, Defense, Metric, Kit, Observer, Executor)}
"""Kind -> the class that its plugins derive from."""


def identifier(plugin: Plugin | type[Plugin]) -> str:
    """``kind:name``, the key of everything that belongs to a plugin."""
    return f"{plugin.kind}:{plugin.name}"
