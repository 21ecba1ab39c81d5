"""Run one stage: look it up in the store, or lease it, compute it, seal it and publish it."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Artifact, Model, artifacts_in, first_line
from bdm_core.context import Context
from bdm_core.errors import BdmError, StageError
from bdm_core.machine.resources import peak_memory_bytes, reset_peak_memory
from bdm_core.run.black_box import BlackBox, deployed
from bdm_core.run.inputs import Watch, hand_over_blind
from bdm_core.run.job import BLIND, DISTRIBUTED, Finished, Job, Kept, WarningsOf
from bdm_core.run.keys import stage_payload
from bdm_core.run.observers import NOT_THE_STAGES, Observers
from bdm_core.run.preparation import Loaded
from bdm_core.run.ranks import POLL_SECONDS, Launch
from bdm_core.run.specification import stage_seed
from bdm_core.store.lease import Lease
from bdm_core.store.stage_record import StageRecord
from bdm_core.store.store import Store, report_disk_errors

WAIT_SECONDS = 5.0
"""After so long a run says whom it waits for."""
MOST_LOST = 3
"""So often a stage is computed whose lease is gone afterwards."""


@dataclass
class StageRunner:
    """Runs stages against one store.

    Attributes:
        store: where results are looked up and published.
        seed: the run's seed.
        device: where hooks compute.
        kit: the task kit, whose parameters count for every stage; None in tests of single stages.
        observers: told of every stage.
        on_finished: called with (label, finished stage) after each.
        launch: this process among those of an ``accelerate launch``.
        defending: seconds, peak memory and figures, but for curves, of each stage of a defense so far, by label.
    """

    store: Store
    seed: int
    device: str
    kit: Loaded | None
    observers: list[Loaded]
    on_finished: Callable[[str, Finished], None] = lambda label, finished: None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("bdm"))

    def __post_init__(self) -> None:
        self.launch = Launch(self.store)
        self._waited: set[str] = set()
        self.defending: dict[str, Any] = {}
        self.watching = Observers(self.observers if self.rank == 0 else [], self.log)

    @property
    def rank(self) -> int:
        """This process's rank; only rank 0 publishes."""
        return self.launch.rank

    @report_disk_errors
    def run(
        self,
        hook: str,
        plugins: list[Loaded],
        inputs: dict[str, Any],
        *,
        label: str = "",
        identity: dict[str, Any] | None = None,
        finish: Callable[[Any, Context], Any] | None = None,
        black_box: Model | None = None,
    ) -> Any:
        """What a hook returns, from the store if it is there.

        Args:
            hook: the hook's name; it decides key and seed.
            plugins: who takes part, the first one asked first; its parameters are passed on if the hook takes them.
            inputs: the hook's further arguments: artifacts, records and plain JSON.
            label: what the user calls this stage; the hook's name by default.
            identity: replaces inputs of the same name in the key, or adds to them, e.g. a path's content for the path.
            finish: called with the answer and the context within the stage: checks it, or replaces it.
            black_box: the model that ``ctx.query`` asks.

        Raises:
            StageError: a plugin failed; the message names stage, plugin and error.
            BdmError: the store cannot be used, or a plugin reported a clear error of its own.
        """
        together = hook in DISTRIBUTED and plugins[0].plugin.distributed
        decisive = {**inputs, **(identity or {})}
        if black_box is not None and self.kit is not None:
            decisive |= {"black_box": black_box, "deployed": deployed(self.kit.params).model_dump(mode="json")}
        stage = hook.replace("_", "-")
        payload = stage_payload(
            stage,
            [*plugins, *([self.kit] if self.kit else [])],
            decisive,
            seed=self._seed(stage, plugins),
            device=self.device.partition(":")[0],
            **({"ranks": self.launch.world} if together and self.launch.world > 1 else {}),
        )
        job = Job(hook, plugins, inputs, label or stage, finish, black_box, payload, together)
        finished = self._from_store(job)
        if finished is None:
            finished = self._lead(job) if self.rank == 0 else self._follow(job)
        if hook in BLIND:
            cost = finished.record.model_dump(include={"seconds", "peak_memory_bytes", "figures"})
            self.defending[job.label] = {**cost, "figures": {k: v for k, v in cost["figures"].items() if k != "curves"}}
        self.on_finished(job.label, finished)
        return finished.value

    def has(self, artifact: Artifact) -> bool:
        """Whether an artifact is there, and not assumed by a walk that only plans."""
        return True

    def _seed(self, stage: str, plugins: list[Loaded]) -> int:
        return stage_seed(self.seed, stage, plugins[0].id)

    def _from_store(self, job: Job) -> Finished | None:
        record = self.store.read(job.stage, job.key)
        if record is None:
            return None
        value = self.store.result(record)
        self.store.tidy(job.key)
        ctx = self._context(job, self.store.root, self.store.root)
        self.watching.tell("stage_started", ctx=ctx, stage=job.label, cached=True)
        for warning in record.warnings:
            self.log.warning("%s: %s", job.label, warning)
        self.watching.tell("stage_finished", ctx=ctx, stage=job.label, seconds=record.seconds, cached=True)
        return Finished(value, record, True)

    def _lead(self, job: Job) -> Finished:
        """Compute the stage, or wait for the process that does."""
        began = time.monotonic()
        lost = 0
        while True:
            with self.store.lease(job.key) as lease:
                if not lease.acquire():
                    self._say_who(job, lease.holder() or {}, time.monotonic() - began)
                    time.sleep(POLL_SECONDS)
                    finished = None
                else:  # it may have been published between the look-up and the lease
                    finished = self._from_store(job) or self._compute_leased(job, lease)
                    lost += finished is None
            finished = finished or self._from_store(job)
            if finished is not None:
                return finished
            if lost == MOST_LOST:
                raise StageError(f"{job.label!r}: files of {self.store.work_folder(job.key)} vanish: use another --out")

    def _say_who(self, job: Job, holder: dict[str, Any], waited: float) -> None:
        """Say once whom this process waits for."""
        if waited > WAIT_SECONDS and job.key not in self._waited:
            self._waited.add(job.key)
            who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
            self.log.warning("%s: waiting for %s to finish it", job.label, who, extra=NOT_THE_STAGES)

    def _compute_leased(self, job: Job, lease: Lease) -> Finished | None:
        """Compute and publish. None if another process took the lease over meanwhile: then its result counts."""
        try:
            finished = self._compute(job, lease)
        except Exception:
            if lease.held():
                raise
            finished = None
        if finished is None:
            self.log.warning(
                "%s: this process paused for so long that another one took over", job.label, extra=NOT_THE_STAGES
            )
        return finished

    def _compute(self, job: Job, lease: Lease) -> Finished | None:
        kept = Kept()
        warnings = WarningsOf(kept)
        self.log.addHandler(warnings)
        try:
            folder = self.store.work_folder(job.key)
            out = _fresh(folder / "out")
            (folder / "work").mkdir(exist_ok=True)
            ctx = self._context(job, out, folder / "work", kept)
            self.watching.tell("stage_started", ctx=ctx, stage=job.label, cached=False)
            given = self._given(job, folder)
            watch = Watch(given)
            reset_peak_memory()
            start = time.perf_counter()
            with self.launch.inviting(job.key) if job.together else nullcontext():
                value = job.call(ctx, given)
            seconds = time.perf_counter() - start
            watch.check(job.plugins[0].id)
            if not lease.held():
                return None
            record = self.store.publish(self._record(job, value, out, seconds, kept), out)
        finally:
            self.log.removeHandler(warnings)
        self.watching.tell("stage_finished", ctx=ctx, stage=job.label, seconds=seconds, cached=False)
        return Finished(self.store.result(record), record, False)

    def _record(self, job: Job, value: Any, out: Path, seconds: float, kept: Kept) -> StageRecord:
        known = {item.digest: self.store.place_of(item) for item in artifacts_in(list(job.inputs.values()))}
        try:
            return StageRecord(
                stage=job.stage,
                key=job.key,
                payload=job.payload,
                result=self.store.encode(value, out=out, stage=job.stage, key=job.key, known=known),
                seconds=round(seconds, 4),
                peak_memory_bytes=peak_memory_bytes(),
                figures=kept.figures,
                warnings=kept.warnings,
            )
        except (BdmError, ValueError, TypeError, AttributeError) as error:
            raise StageError(f"{job.plugins[0].id} left a wrong {job.label!r}: {first_line(error)}") from error

    def _follow(self, job: Job) -> Finished:
        """Rank 1 and up: take part where all ranks compute together, publish nothing, wait for rank 0's result."""
        joined = False
        while True:
            if job.together and not joined and self.launch.invited(job.key):
                joined = True
                name = f"{job.key}.rank{self.rank}"
                folder = self.store.work_folder(name)
                with self.store.lease(name) as lease:
                    lease.acquire()
                    ctx = self._context(job, _fresh(folder / "out"), _fresh(folder / "work"))
                    self.launch.copy_work(job.key, ctx.work)
                    job.call(ctx, self._given(job, folder))
                    self.store.discard(name)
            gone = self.launch.leader_is_gone()  # asked before the look-up: it may publish and end in between
            finished = self._from_store(job)
            if finished is not None:
                return finished
            if gone:
                raise StageError(f"rank {self.rank} waits for {job.label!r}, but rank 0 has ended: see its message")
            time.sleep(POLL_SECONDS)

    def _given(self, job: Job, folder: Path) -> dict[str, Any]:
        if job.hook not in BLIND:
            return job.inputs
        return hand_over_blind(job.inputs, _fresh(folder / "inputs"))

    def _context(self, job: Job, out: Path, work: Path, kept: Kept | None = None) -> Context:
        def on_progress(what: str, done: int, total: int, loss: float | None) -> None:
            self.watching.tell(
                "stage_progress", ctx=quiet, stage=job.label, label=what, done=done, total=total, loss=loss
            )

        kit = self.kit.params.for_stage(job.stage) if self.kit else None
        seed = self._seed(job.stage, job.plugins)
        quiet = Context(out, work, seed, self.device, job.stage, kit, self.log, self.rank)
        ctx = replace(quiet, on_progress=on_progress, on_figures=(kept or Kept()).add)
        if job.black_box is not None and self.kit is not None:
            ctx = replace(ctx, on_query=BlackBox(self.kit, job.black_box, ctx))
        return ctx


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
