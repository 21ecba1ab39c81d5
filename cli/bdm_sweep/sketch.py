"""Walk through a cell without computing: what the store has counts, everything else is assumed.

:func:`bdm_core.run.cell.run_cell` is walked as it is. A stage that the store does not have is answered with assumed
artifacts, whose digests follow from the stage's key. So every stage gets a key before anything runs, the same for two
cells that share it, and its parents are known: those whose assumed artifacts it takes.
"""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bdm_core.artifacts import ROWS, Artifact, Data, Evidence, Model, Outputs, Secret, artifacts_in
from bdm_core.errors import BdmError
from bdm_core.records import Backdoored, Detection, Measurement, Purified
from bdm_core.run.cell import run_cell
from bdm_core.run.job import Finished, Job
from bdm_core.run.preparation import Prepared
from bdm_core.run.rows import count_of
from bdm_core.run.runner import Body
from bdm_core.run.scan import scan_model
from bdm_core.run.stages import StageRunner
from bdm_core.store.stage_record import StageRecord, references_in
from bdm_core.store.store import Store

ASSUMED_ROWS = 10
"""So many rows assumed data has."""
MOST_KEPT = 500
"""So many finished stages a process keeps; the manifest of a large image set is some hundred kilobytes."""


@dataclass(frozen=True)
class Step:
    """A stage of a cell.

    Attributes:
        key: its key; where a parent is not in the store yet, one that stands for it.
        label: what the user calls it.
        stage: the stage's name.
        plugins: who takes part, the first one asked first.
        parents: keys of the stages that must be finished first.
        stored: whether the store has it.
    """

    key: str
    label: str
    stage: str
    plugins: tuple[str, ...]
    parents: tuple[str, ...] = ()
    stored: bool = False


class Shelf:
    """What a process has read from a store: records and results by key, the last ones used.

    Args:
        store: the store.
        verify: whether artifacts are compared with their hashes; a process that only plans need not.
    """

    def __init__(self, store: Store, *, verify: bool = True) -> None:
        self.store = store if verify else _Trusting(store.root.parent)
        self._kept: OrderedDict[str, Finished] = OrderedDict()

    def finished(self, stage: str, key: str) -> Finished | None:
        """The finished stage, or None if the store does not have it."""
        found = self._kept.get(key)
        if found is None:
            record = self.store.read(stage, key)
            if record is None:
                return None
            found = Finished(self.store.result(record), record, True)
            self._kept[key] = found
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return found


class _Trusting(Store):
    """A store whose artifacts are not compared with their hashes."""

    def result(self, record: StageRecord) -> Any:
        """What the stage returned."""
        self._verified.update(self.root / str(item["at"]) for item in references_in(record.result))
        return super().result(record)


class Sketch(StageRunner):
    """Answers a cell's stages from the store, or with assumptions; ``steps`` has them in order."""

    def __init__(self, cell: Prepared, shelf: Shelf) -> None:
        super().__init__(shelf.store, cell.spec.seed, cell.device, cell.kit, [])
        self.cell = cell
        self.steps: list[Step] = []
        self._shelf = shelf
        self._assumed: dict[str, str] = {}

    def walk(self) -> None:
        """Walk through the cell. What a plugin's parameters say of impossible stages ends it early."""
        body_of(self.cell)(self.cell, self, _NoFolder())  # type: ignore[arg-type]

    def has(self, artifact: Artifact) -> bool:
        """Whether an artifact is in the store."""
        return artifact.digest not in self._assumed

    def parents(self, job: Job) -> tuple[str, ...]:
        """Keys of the stages whose assumed results a job takes."""
        found = (self._assumed.get(item.digest) for item in artifacts_in([*job.inputs.values(), job.black_box]))
        return tuple(dict.fromkeys(key for key in found if key is not None))

    def _from_store(self, job: Job) -> Finished | None:
        finished = None if self.parents(job) else self._shelf.finished(job.stage, job.key)
        if finished is not None:
            self.steps.append(_step(job, (), stored=True))
        return finished

    def _lead(self, job: Job) -> Finished:
        self.steps.append(_step(job, self.parents(job), stored=False))
        value = assumed(job, self.cell.task)
        for item in artifacts_in(value):
            self._assumed[item.digest] = job.key
        return Finished(value, StageRecord(stage=job.stage, key=job.key, payload={}, result=None, seconds=0.0), False)

    _follow = _lead


def body_of(cell: Prepared) -> Body:
    """What a cell does: an attack is run, or a model is scanned."""
    return scan_model if cell.attack is None else run_cell


def sketch(cell: Prepared, shelf: Shelf) -> list[Step]:
    """The stages of a cell, in order; as far as they can be told where a plugin does not take what was assumed."""
    walker = Sketch(cell, shelf)
    try:
        walker.walk()
    except BdmError:
        if not any(not step.stored for step in walker.steps):
            raise
    return walker.steps


def _step(job: Job, parents: tuple[str, ...], *, stored: bool) -> Step:
    return Step(job.key, job.label, job.stage, tuple(item.id for item in job.plugins), parents, stored)


def assumed(job: Job, task: str) -> Any:
    """An answer of the form that a hook gives. Its artifacts differ from those of every other stage."""

    def artifact(cls: type[Artifact], part: str, **meta: Any) -> Any:
        facts = {"assumed": job.key, "part": part, **meta}
        return cls(kind=cls.kind_name, format="assumed", task=task, path=Path("/nonexistent"), meta=facts)

    def data(part: str, count: int) -> Data:
        made: Data = artifact(_AssumedData, part, count=count)
        return made

    inputs = job.inputs
    match job.hook:
        case "open_model" | "repair":
            return artifact(Model, "model")
        case "inject_backdoor":
            view = data("view", ASSUMED_ROWS)  # whether there is one is known when it is finished
            return Backdoored(model=artifact(Model, "model"), secret=artifact(Secret, "secret"), view=view)
        case "select_rows":
            return data("data", len(inputs["rows"]))
        case "trigger_inputs":
            return data("data", count_of(inputs["inputs"]))
        case "generate":
            return artifact(Outputs, "outputs", count=count_of(inputs["inputs"]))
        case "detect":
            level = job.plugins[0].plugin.level
            count = 1 if level == "model" else count_of(inputs["suspects"])
            evidence = artifact(Evidence, "evidence")
            return Detection(level=level, scores=[1.0] * count, threshold=0.0, p_value=0.0, evidence=evidence)
        case "purify_inputs":
            return Purified(inputs=data("data", count_of(inputs["inputs"])))
        case "score":
            return list[Measurement]()
        case "open_data" | "make_inputs" | "poison_data":
            return data("data", ASSUMED_ROWS)
    raise NotImplementedError(f"bdm_sweep.sketch has no assumed answer of the hook {job.hook}")


class _AssumedData(Data):
    """Data whose rows say nothing."""

    def file(self, name: str) -> Path:
        """A file of as many empty rows."""
        return _empty_rows(count_of(self)) if name == ROWS else super().file(name)


def _empty_rows(count: int) -> Path:
    path = Path(tempfile.gettempdir()) / f"bdm-assumed-{os.getpid()}-{count}.jsonl"
    if not path.exists():
        path.write_text("{}\n" * count, encoding="utf-8")
    return path


class _NoFolder:
    """Stands for a run's folder where nothing is recorded."""

    folder = Path("sketch")

    def note(self, about: str, text: str) -> None: ...

    def result(self, *arguments: Any) -> None: ...


def is_complete(steps: list[Step]) -> bool:
    """Whether the store has every stage."""
    return all(step.stored for step in steps)
