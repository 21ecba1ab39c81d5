"""Planning of 11,492 pairs over simulated stage times: how long it takes, and how near the makespan is to its bound.

Every pair of 68 attacks and 169 defenses is a cell with the stages of ``bdm_core.run.cell.run_cell``. Times are drawn
from log-normal distributions: training takes minutes to hours, detection and repair likewise, the rest seconds. The
schedule is that of ``bdm sweep``: the longest critical path first. No schedule is shorter than the bound: the work
divided by the workers, or the longest chain.

    python benchmarks/scheduling.py [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import time

from bdm_sweep.graph import Graph
from bdm_sweep.schedule import lower_bound, makespan

ATTACKS, DEFENSES = 68, 169
WORKERS = (8, 64, 512)
SECONDS = {
    "inject-backdoor": (1200.0, 1.0),
    "repair": (600.0, 1.0),
    "detect": (300.0, 1.0),
    "generate": (60.0, 0.5),
    "score": (10.0, 0.5),
}
"""Stage -> median of its time and deviation of the logarithm; others take two seconds."""


def simulated(seed: int = 0) -> Graph:
    """The graph of all pairs with simulated times."""
    graph = Graph()
    for attack in range(ATTACKS):
        for defense in range(DEFENSES):
            _add_cell(graph, attack, defense)
    draw = random.Random(seed)
    seconds = {}
    for task in graph.tasks:
        median, deviation = SECONDS.get(task.stage, (2.0, 0.5))
        seconds[task.number] = draw.lognormvariate(math.log(median), deviation)
    graph.weigh(seconds)
    return graph


def _add_cell(graph: Graph, attack: int, defense: int) -> None:
    cell = attack * DEFENSES + defense
    a, d, pair = f"a{attack}", f"d{defense}", f"a{attack}d{defense}"
    stages = [
        ("model", "open-model", ()),
        ("data", "open-data", ("model",)),
        ("inputs", "make-inputs", ("model", "data")),
        ("clean", "generate", ("model", "inputs")),
        ("share", "select-rows", ("data",)),
        (f"poisoned {a}", "poison-data", ("data",)),
        (f"backdoored {a}", "inject-backdoor", ("model", f"poisoned {a}")),
        (f"triggered {a}", "trigger-inputs", ("inputs", f"backdoored {a}")),
        (f"clean under {a}", "generate", ("model", f"triggered {a}")),
        (f"samples {a}", "generate", (f"backdoored {a}", "inputs")),
        (f"samples under {a}", "generate", (f"backdoored {a}", f"triggered {a}")),
        (f"detection {pair}", "detect", (f"backdoored {a}", "share", "inputs")),
        (f"repaired {pair}", "repair", (f"backdoored {a}", "share", f"detection {pair}")),
        (f"repaired samples {pair}", "generate", (f"repaired {pair}", "inputs")),
        (f"repaired samples under {pair}", "generate", (f"repaired {pair}", f"triggered {a}")),
        (f"score clean {a}", "score", ("clean", f"clean under {a}")),
        (f"score backdoored {pair}", "score", (f"samples {a}", f"samples under {a}", f"detection {pair}")),
        (f"score repaired {pair}", "score", (f"repaired samples {pair}", f"repaired samples under {pair}")),
    ]
    for key, stage, parents in stages:
        graph.add(key, key, stage, (f"plugin:{d if stage in ('detect', 'repair') else a}",), parents, cell)
    graph.add(f"run {pair}", "", "run", (), [key for key, _, _ in stages], cell)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    start = time.perf_counter()
    graph = simulated()
    rows = []
    for workers in WORKERS:
        span, bound = makespan(graph, workers), lower_bound(graph, workers)
        rows.append(
            {"workers": workers, "makespan_hours": span / 3600, "bound_hours": bound / 3600, "over": span / bound - 1}
        )
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {
        "pairs": ATTACKS * DEFENSES,
        "tasks": len(graph.tasks),
        "seconds": seconds,
        "peak_mib": peak,
        "schedules": rows,
    }
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{found['pairs']:,} pairs, {found['tasks']:,} tasks, planned in {seconds:.1f} s with {peak:.0f} MiB")
    for row in rows:
        text = f"{row['makespan_hours']:,.1f} h, bound {row['bound_hours']:,.1f} h, {100 * row['over']:.2f} % over"
        print(f"{row['workers']:>4} workers: {text}")


if __name__ == "__main__":
    main()
