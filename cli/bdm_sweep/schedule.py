"""Which task comes next: of those whose parents are finished the one with the longest chain of tasks behind it."""

from __future__ import annotations

import heapq

from bdm_sweep.graph import Graph, Task


class Queue:
    """The tasks of a graph that may begin, most urgent first.

    >>> graph = Graph()
    >>> for name, parents in (("short", ()), ("long", ()), ("after", ("long",))):
    ...     _ = graph.add(name, name, name, (), parents, 0)
    >>> graph.weigh({0: 2.0, 1: 1.0, 2: 3.0})
    >>> queue = Queue(graph)
    >>> first = queue.pop()
    >>> first.key, queue.pop().key, len(queue)
    ('long', 'short', 0)
    >>> queue.finish(first)
    >>> queue.pop().key
    'after'
    """

    def __init__(self, graph: Graph) -> None:
        self._tasks = graph.tasks
        self._missing = [len(task.parents) for task in graph.tasks]
        self._ready = [(-task.priority, task.number) for task in graph.tasks if not task.parents]
        heapq.heapify(self._ready)

    def __len__(self) -> int:
        return len(self._ready)

    def pop(self) -> Task:
        """The most urgent task that may begin. Raises IndexError if there is none."""
        return self._tasks[heapq.heappop(self._ready)[1]]

    def again(self, task: Task) -> None:
        """Let a task that was taken begin once more."""
        heapq.heappush(self._ready, (-task.priority, task.number))

    def finish(self, task: Task) -> None:
        """Let the tasks begin that waited for this one alone."""
        for number in task.children:
            self._missing[number] -= 1
            if not self._missing[number]:
                heapq.heappush(self._ready, (-self._tasks[number].priority, number))


def makespan(graph: Graph, workers: int) -> float:
    """Seconds from the first task to the last with so many workers, by simulation of the times in the graph.

    >>> graph = Graph()
    >>> for number in range(4):
    ...     _ = graph.add(str(number), "", "", (), (), 0)
    >>> graph.weigh(dict.fromkeys(range(4), 1.5))
    >>> makespan(graph, 2)
    3.0
    """
    queue = Queue(graph)
    running: list[tuple[float, int]] = []
    now = 0.0
    while queue or running:
        while queue and len(running) < workers:
            task = queue.pop()
            heapq.heappush(running, (now + task.seconds, task.number))
        now, number = heapq.heappop(running)
        queue.finish(graph.tasks[number])
    return now


def lower_bound(graph: Graph, workers: int) -> float:
    """No schedule is shorter: the work divided by the workers, or the longest chain."""
    return max(graph.work / workers, graph.longest_chain)
