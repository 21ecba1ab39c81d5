"""What a plan amounts to with this store: cells, the graph of what is missing, times."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bdm_core.errors import BdmError
from bdm_core.store import paths
from bdm_core.store.store import Store
from bdm_sweep.cells import Cell, Cells, Preparation, cells_of, joined
from bdm_sweep.graph import Graph
from bdm_sweep.plan import Plan
from bdm_sweep.sketch import Shelf, Step, is_complete, sketch
from bdm_sweep.times import Times, recorded_times


@dataclass(frozen=True)
class Survey:
    """What a plan amounts to.

    Attributes:
        plans: the plan, or several.
        cells: their cells, the impossible ones apart.
        graph: the tasks that are left to do.
        finished: numbers of the cells that are complete already.
        stages: how many distinct stages the cells have, by the stage's name.
        stored: how many of them the store has, by the stage's name.
        times: what the store knows of times and memory.
        reached: keys of the stages that the store has.
    """

    plans: list[Plan]
    cells: Cells
    graph: Graph
    finished: frozenset[int]
    stages: Counter[str]
    stored: Counter[str]
    times: Times
    reached: list[str]


def survey(
    plans: Plan | list[Plan], out: Path, *, here: bool = True, on_cell: Callable[[int, int], None] | None = None
) -> Survey:
    """Look at every cell without running anything.

    Args:
        plans: the plan; or several, whose cells are run together.
        out: folder of store and runs.
        here: whether stages run on this machine.
        on_cell: told (done, total) after each cell.

    Raises:
        BdmError: see :func:`bdm_sweep.cells.cells_of`.
    """
    preparation = Preparation(here=here)
    several = plans if isinstance(plans, list) else [plans]
    cells = joined([cells_of(plan, preparation) for plan in several])
    store = Store(out)
    shelf = Shelf(store, verify=False)
    graph = Graph()
    steps_by_key: dict[str, Step] = {}
    finished = set()
    for number, cell in enumerate(cells.possible):
        try:
            steps = sketch(preparation(cell.spec), shelf)
        except BdmError as error:  # its last task fails with it
            logging.getLogger("bdm").warning("%s", error)
            steps = []
        if steps and is_complete(steps) and _is_recorded(out / cell.name, steps):
            finished.add(number)
        missing = [step for step in steps if not step.stored]
        for step in missing:
            graph.add(step.key, step.label, step.stage, step.plugins, step.parents, number)
        if number not in finished:
            graph.add(f"run {cell.name}", "", "run", (), [step.key for step in missing], number)
        steps_by_key |= {step.key: step for step in steps}
        if on_cell is not None:
            on_cell(number + 1, len(cells.possible))
    times = recorded_times(store.root)
    graph.weigh({task.number: times.seconds(task.stage, task.plugins) for task in graph.tasks})
    stages = Counter(step.stage for step in steps_by_key.values())
    stored = Counter(step.stage for step in steps_by_key.values() if step.stored)
    reached = [step.key for step in steps_by_key.values() if step.stored]
    return Survey(several, cells, graph, frozenset(finished), stages, stored, times, reached)


def _is_recorded(folder: Path, steps: list[Step]) -> bool:
    """Whether a run's folder has a complete run of just these stages."""
    try:
        record = json.loads((folder / paths.RUN_RECORD).read_text(encoding="utf-8"))
        stages = json.loads((folder / paths.STAGES).read_text(encoding="utf-8"))
        return record["status"] == "complete" and {entry["key"] for entry in stages} == {step.key for step in steps}
    except (OSError, ValueError, LookupError, TypeError):
        return False


def by_pair(cells: list[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """The cells of each attack and defense."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.spec.attack or "-", cell.defense), []).append(cell)
    return found
