"""One graph for all cells of a sweep: every distinct stage once, and a last task for each cell that writes its run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class Task:
    """What an executor is given: a stage, or the last task of a cell.

    Attributes:
        number: its place in the graph.
        key: the stage's key, see :class:`bdm_sweep.sketch.Step`; of a last task the cell's name.
        label: what the user calls the stage; "" for a last task.
        stage: the stage's name; ``run`` for a last task.
        plugins: who takes part.
        cell: number of a cell that has it.
        parents: numbers of the tasks before it.
        children: numbers of the tasks after it.
        cells: numbers of all cells that need it.
        seconds: how long it is expected to take.
        priority: seconds of the longest chain of tasks that begins with it.
    """

    number: int
    key: str
    label: str
    stage: str
    plugins: tuple[str, ...]
    cell: int
    parents: tuple[int, ...] = ()
    children: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    seconds: float = 0.0
    priority: float = 0.0

    @property
    def what(self) -> str:
        """The plugin that decides the stage, with the stage."""
        return f"{self.plugins[0]} {self.stage}" if self.plugins else "a finished run's record"


class Graph:
    """Tasks in an order in which every one stands after its parents."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self._by_key: dict[str, int] = {}

    def add(
        self, key: str, label: str, stage: str, plugins: tuple[str, ...], parents: Iterable[str], cell: int
    ) -> Task:
        """The task of a key; it is new for the first cell that has it."""
        number = self._by_key.get(key)
        if number is None:
            number = self._by_key[key] = len(self.tasks)
            before = tuple(self._by_key[parent] for parent in parents if parent in self._by_key)
            self.tasks.append(Task(number, key, label, stage, plugins, cell, before))
            for parent in before:
                self.tasks[parent].children.append(number)
        task = self.tasks[number]
        if not task.cells or task.cells[-1] != cell:
            task.cells.append(cell)
        return task

    def weigh(self, seconds: Mapping[int, float]) -> None:
        """Set how long tasks take, and their priorities: longest critical path first."""
        for task in reversed(self.tasks):
            task.seconds = seconds[task.number]
            task.priority = task.seconds + max((self.tasks[child].priority for child in task.children), default=0.0)

    @property
    def work(self) -> float:
        """Seconds of all tasks together."""
        return sum(task.seconds for task in self.tasks)

    @property
    def longest_chain(self) -> float:
        """Seconds of the critical path."""
        return max((task.priority for task in self.tasks), default=0.0)
